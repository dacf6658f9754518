//! Guests under VMX: the control structure (SDM vol. 3C, chapters 25 to 28) and extended page tables.
#![expect(unsafe_code, reason = "UNSAFETY: enters guests")]

use core::arch::asm;

use selfsame_hypervisor::pages::Pages;
use selfsame_hypervisor::{Cpu, Fault, HostSegments, msr};
use selfsame_switch::{CpuTables, GdtBase};

use crate::context::{Context, Registers};
use crate::entry::enter_vmx;
use crate::exit::{Exit, PortAccess, Width};
use crate::guest_memory::GuestMemory;
use crate::virtual_cpu::{Capabilities, ModeState};
use crate::vmcs::{self, Field};

const EFER: u32 = 0xc000_0080;
const PAT: u32 = 0x277;
const FEATURE_CONTROL: u32 = 0x3a;
const BASIC: u32 = 0x480;
const CR4_VMXE: u64 = 1 << 13;
const CR4_PKE: u64 = 1 << 22;

/// A word of controls: what each CPU allows is in an MSR (SDM vol. 3D, appendix A).
struct Controls {
    field: Field,
    /// The MSR, and the one that tells of bits which are not as fixed as the first says.
    msr: u32,
    true_msr: u32,
    wanted: u64,
}

impl Controls {
    /// External interrupts and NMIs exit.
    const PIN: Self = Self { field: Field::PIN_CONTROLS, msr: 0x481, true_msr: 0x48d, wanted: 1 << 0 | 1 << 3 };
    /// HLT, MWAIT, MONITOR, MOV to and from debug registers and all ports exit; MSRs by their bitmap; there are secondary
    /// controls.
    const PRIMARY: Self = Self {
        field: Field::PRIMARY_CONTROLS,
        msr: 0x482,
        true_msr: 0x48e,
        wanted: 1 << 7 | 1 << 10 | MOV_DR_EXITING | 1 << 24 | 1 << 28 | 1 << 29 | 1 << 31,
    };
    /// Extended page tables; guests without paging.
    const SECONDARY: Self =
        Self { field: Field::SECONDARY_CONTROLS, msr: 0x48b, true_msr: 0x48b, wanted: 1 << 1 | 1 << 7 };
    /// To 64-bit mode; DR7, PAT and EFER are saved and EFER and PAT loaded; the interrupt is acknowledged.
    const EXIT: Self = Self {
        field: Field::EXIT_CONTROLS,
        msr: 0x483,
        true_msr: 0x48f,
        wanted: 1 << 2 | 1 << 9 | 1 << 15 | 1 << 18 | 1 << 19 | 1 << 20 | 1 << 21,
    };
    /// DR7, PAT and EFER are loaded.
    const ENTRY: Self =
        Self { field: Field::ENTRY_CONTROLS, msr: 0x484, true_msr: 0x490, wanted: 1 << 2 | 1 << 14 | 1 << 15 };

    /// Writes what is wanted, with `more`, as far as the CPU allows.
    fn write(&self, more: u64) {
        const HAS_TRUE_CONTROLS: u64 = 1 << 55;
        let has_true = msr::read(BASIC).is_ok_and(|basic| basic & HAS_TRUE_CONTROLS != 0);
        let allowed = msr::read(if has_true { self.true_msr } else { self.msr }).unwrap_or_default();
        let (always, possible) = (allowed & 0xffff_ffff, allowed >> 32);
        vmcs::write(self.field, (self.wanted | more | always) & possible);
    }
}

/// Of the primary controls.
const MOV_DR_EXITING: u64 = 1 << 23;
/// Of the exceptions.
const DEBUG_EXCEPTION: u64 = 1 << 1;

/// What a CPU has for VMX.
#[derive(Debug)]
pub(crate) struct VmxCpu {
    _region: Pages,
    segments: HostSegments,
    gdt_base: u64,
    gs_base: u64,
    /// The structure that is the current one.
    current: u64,
}

impl VmxCpu {
    /// Turns VMX on, on this CPU. CR4.VMXE is set.
    pub(crate) fn turn_on(cpu: &'static Cpu, tables: &CpuTables) -> Option<Self> {
        const LOCKED_ON: u64 = 1 << 0 | 1 << 2;
        let control = msr::read(FEATURE_CONTROL).ok()?;
        if control & 1 == 0 {
            // SAFETY: VMX changes nothing for who does not use it.
            unsafe { msr::write(FEATURE_CONTROL, control | LOCKED_ON) }.ok()?;
        }
        let region = control_page()?;
        // SAFETY: the page has the revision, and is kept for it.
        let is_on = unsafe { vmcs::turn_on(region.address()) };
        is_on.then(|| Self {
            _region: region,
            segments: cpu.host_segments(),
            gdt_base: GdtBase::of_cpu(tables).linear(),
            gs_base: core::ptr::from_ref(cpu).addr() as u64,
            current: 0,
        })
    }
}

/// A page that begins with the CPU's revision.
fn control_page() -> Option<Pages> {
    let revision = msr::read(BASIC).ok()? & 0x7fff_ffff;
    let mut page = Pages::take(1, 1)?;
    *page.words_mut().first_mut()? = revision;
    Some(page)
}

/// What a vCPU has for VMX.
#[derive(Debug)]
pub(crate) struct Vmx {
    structure: Pages,
    msr_bitmap: Pages,
    root: u64,
    start: u32,
    is_filled: bool,
    /// Whether its fields for the host are those of the CPU that it is on.
    has_host: bool,
    is_launched: bool,
}

impl Vmx {
    /// A vCPU that begins at `start` in 32-bit protected mode, and sees `memory`.
    pub(crate) fn new(memory: &mut GuestMemory, start: u32) -> Option<Self> {
        let (structure, mut msr_bitmap) = (control_page()?, Pages::take(1, 1)?);
        msr_bitmap.bytes_mut().fill(0xff);
        let root = memory.extended_tables()?;
        Some(Self { structure, msr_bitmap, root, start, is_filled: false, has_host: false, is_launched: false })
    }

    pub(crate) fn pass_msr(&mut self, number: u32) {
        /// The ranges that have permissions, and where those for reads begin, in bytes; those for writes follow 2 KiB behind
        /// (SDM vol. 3C, 25.6.9).
        const RANGES: [(u32, usize); 2] = [(0, 0), (0xc000_0000, 0x400)];
        const RANGE_LEN: u32 = 0x2000;
        const WRITES: usize = 0x800;
        for (first, byte) in RANGES {
            let Some(within) = number.checked_sub(first).filter(|&within| within < RANGE_LEN) else { continue };
            for byte in [byte, byte + WRITES] {
                if let Some(byte) = self.msr_bitmap.bytes_mut().get_mut(byte + within as usize / 8) {
                    *byte &= !(1 << (within % 8));
                }
            }
        }
    }

    /// Makes the structure the current one, with all of its fields.
    fn load(&mut self, own: &mut VmxCpu, capabilities: &Capabilities) -> bool {
        let address = self.structure.address();
        if own.current != address {
            if !self.is_filled {
                // SAFETY: a structure is cleared before its first use (SDM vol. 3C, 25.11.3).
                unsafe { vmcs::clear(address) };
            }
            // SAFETY: it is kept in `self`, and a CPU that had it has unloaded it.
            if !unsafe { vmcs::load(address) } {
                return false;
            }
            own.current = address;
        }
        if !self.is_filled {
            self.is_filled = true;
            self.fill(capabilities);
        }
        if !self.has_host {
            self.has_host = true;
            fill_host(own);
            fill_capabilities(capabilities);
        }
        true
    }

    /// Takes the structure off the CPU: another may load it.
    pub(crate) fn unload_from(&mut self, own: &mut VmxCpu) {
        if own.current == self.structure.address() {
            own.current = 0;
        }
        // SAFETY: it is this vCPU's, on the CPU that it was loaded on.
        unsafe { vmcs::clear(self.structure.address()) };
        self.has_host = false;
        self.is_launched = false;
    }

    fn fill(&self, capabilities: &Capabilities) {
        const ENTRY_LOADS_CET: u64 = 1 << 20;
        const EXIT_LOADS_CET: u64 = 1 << 28;
        const NUMERIC_ERROR: u64 = 1 << 5;
        let wanted = |is_wanted: bool, bit: u64| if is_wanted { bit } else { 0 };
        Controls::PIN.write(0);
        Controls::PRIMARY.write(0);
        Controls::EXIT.write(wanted(capabilities.has_cet, EXIT_LOADS_CET));
        Controls::ENTRY.write(wanted(capabilities.has_cet, ENTRY_LOADS_CET));

        const WRITE_BACK_FOUR_LEVELS: u64 = 6 | 3 << 3;
        // ET, PE; NE is fixed to 1 as well, and the guest sees it so.
        let cr0 = 0x11 | NUMERIC_ERROR;
        let fields = [
            (Field::MSR_BITMAP, self.msr_bitmap.address()),
            (Field::EPT_POINTER, self.root | WRITE_BACK_FOUR_LEVELS),
            (Field::XSS_EXITING, 0),
            (Field::LINK_POINTER, u64::MAX),
            (Field::EXCEPTIONS, DEBUG_EXCEPTION),
            (Field::CR0_MASK, 0),
            (Field::CR0_SHADOW, 0),
            (Field::CR4_SHADOW, 0),
            (Field::GUEST_CR0, cr0),
            (Field::GUEST_CR4, CR4_VMXE),
            (Field::GUEST_EFER, 0),
            (Field::GUEST_PAT, 0x0007_0406_0007_0406),
            (Field::GUEST_DR7, selfsame_switch::DR7_RESET),
            (Field::GUEST_RFLAGS, 2),
            (Field::GUEST_RIP, u64::from(self.start)),
        ];
        for (field, value) in fields {
            vmcs::write(field, value);
        }
        const UNUSABLE: u64 = 1 << 16;
        const BUSY_TASK: u64 = 0x8b;
        let segments = [0xc093, 0xc09b, 0xc093, 0xc093, 0xc093, 0xc093, UNUSABLE, BUSY_TASK];
        for (place, rights) in (0..).zip(segments) {
            let is_flat = place < 6;
            let selector = if place == 1 { 0x08 } else { 0x10 };
            vmcs::write(Field::selector(place), if is_flat { selector } else { 0 });
            vmcs::write(Field::limit(place), if is_flat { 0xffff_ffff } else { 0xffff });
            vmcs::write(Field::rights(place), rights);
            vmcs::write(Field::base(place), 0);
        }
        for place in [8, 9] {
            vmcs::write(Field::limit(place), 0xffff);
        }
    }

    /// Runs the guest until it exits.
    pub(crate) fn run(
        &mut self,
        own: &mut VmxCpu,
        context: &mut Context,
        registers: &mut Registers,
        capabilities: &Capabilities,
    ) -> Exit {
        if !self.load(own, capabilities) {
            return Exit::Other { code: NOT_LOADED, detail: self.structure.address() };
        }
        context.registers = registers;
        context.is_launched = self.is_launched;
        // SAFETY: the pointers are set above and by the caller, who made the orders; the structure is the current one, makes
        // what is not the guest's own exit, and its tables map the guest's own memory alone.
        let failure = unsafe { enter_vmx(context) };
        if failure != 0 {
            return Exit::Other { code: NOT_ENTERED, detail: vmcs::read(Field::INSTRUCTION_ERROR) };
        }
        self.is_launched = true;
        exit(registers)
    }

    pub(crate) fn mode(&self) -> ModeState {
        const LMA: u64 = 1 << 10;
        const LONG_CODE: u64 = 1 << 13;
        let (mask, efer) = (vmcs::read(Field::CR4_MASK), vmcs::read(Field::GUEST_EFER));
        let cr4 = vmcs::read(Field::GUEST_CR4) & !mask | vmcs::read(Field::CR4_SHADOW) & mask;
        ModeState {
            rip: vmcs::read(Field::GUEST_RIP),
            cr0: vmcs::read(Field::GUEST_CR0),
            cr3: vmcs::read(Field::GUEST_CR3),
            cr4,
            efer,
            cpl: u8::try_from(vmcs::read(Field::SS_RIGHTS) >> 5 & 3).unwrap_or_default(),
            is_64_bit_code: efer & LMA != 0 && vmcs::read(Field::CS_RIGHTS) & LONG_CODE != 0,
        }
    }

    pub(crate) fn advance(&mut self, len_bytes: u8) {
        const BY_STI_OR_MOV_SS: u64 = 3;
        vmcs::write(Field::GUEST_RIP, vmcs::read(Field::GUEST_RIP).wrapping_add(u64::from(len_bytes)));
        vmcs::write(Field::INTERRUPTIBILITY, vmcs::read(Field::INTERRUPTIBILITY) & !BY_STI_OR_MOV_SS);
    }

    pub(crate) fn instruction_len_bytes(&self) -> u8 {
        u8::try_from(vmcs::read(Field::INSTRUCTION_LENGTH)).unwrap_or_default()
    }

    /// SDM vol. 3C, 25.8.3.
    pub(crate) fn raise(&mut self, fault: Fault) {
        const EXCEPTION: u64 = 3 << 8;
        const HAS_ERROR: u64 = 1 << 11;
        const VALID: u64 = 1 << 31;
        let error = if fault.has_error_code() { HAS_ERROR } else { 0 };
        vmcs::write(Field::ENTRY_EVENT_ERROR, u64::from(fault.error));
        vmcs::write(Field::ENTRY_EVENT, u64::from(fault.vector) | EXCEPTION | error | VALID);
    }

    pub(crate) fn set_cr4(&mut self, value: u64) {
        vmcs::write(Field::CR4_SHADOW, value);
        vmcs::write(Field::GUEST_CR4, value | CR4_VMXE);
    }

    /// EFER.LMA follows the guest's paging, with the entry control that goes with it.
    pub(crate) fn set_efer(&mut self, value: u64) {
        const LMA: u64 = 1 << 10;
        let lma = vmcs::read(Field::GUEST_EFER) & LMA;
        vmcs::write(Field::GUEST_EFER, value & !LMA | lma);
    }

    pub(crate) fn grant_debug_registers(&mut self) {
        vmcs::write(Field::PRIMARY_CONTROLS, vmcs::read(Field::PRIMARY_CONTROLS) & !MOV_DR_EXITING);
        vmcs::write(Field::EXCEPTIONS, vmcs::read(Field::EXCEPTIONS) & !DEBUG_EXCEPTION);
    }
}

/// Codes of [`Exit::Other`] beyond the exit reasons.
const NOT_LOADED: u64 = 1 << 40;
const NOT_ENTERED: u64 = 1 << 41;

fn exit(registers: &Registers) -> Exit {
    let (reason, qualification) = (vmcs::read(Field::EXIT_REASON), vmcs::read(Field::QUALIFICATION));
    let len_bytes = u8::try_from(vmcs::read(Field::INSTRUCTION_LENGTH)).unwrap_or_default();
    match reason {
        0 if vmcs::read(Field::EXIT_EVENT) & 0xff == 1 => Exit::DebugException { cause: qualification & 0x600f },
        1 => Exit::Interrupt { is_acknowledged: true },
        2 => Exit::Shutdown,
        10 => Exit::Cpuid,
        12 => Exit::Hlt,
        // All of VMX, GETSEC, MWAIT, MONITOR: as on a CPU that does not have them.
        11 | 18..=27 | 36 | 39 | 50 | 53 => Exit::Undefined,
        28 => write_cr4(qualification, registers, len_bytes)
            .unwrap_or(Exit::Other { code: reason, detail: qualification }),
        29 => Exit::DebugRegister,
        30 => port(qualification, len_bytes).unwrap_or(Exit::Other { code: reason, detail: qualification }),
        31 => Exit::ReadMsr,
        32 => Exit::WriteMsr,
        48 => Exit::NoMemory { address: vmcs::read(Field::GUEST_PHYSICAL) },
        55 => Exit::Xsetbv,
        _ => Exit::Other { code: reason, detail: qualification },
    }
}

/// SDM vol. 3C, table 28-3.
fn write_cr4(qualification: u64, registers: &Registers, len_bytes: u8) -> Option<Exit> {
    const REGISTER_4: u64 = 4;
    if qualification & 0x3f != REGISTER_4 {
        return None;
    }
    let from = u8::try_from(qualification >> 8 & 0xf).ok()?;
    let value = registers.by_number(from).unwrap_or_else(|| vmcs::read(Field::GUEST_RSP));
    Some(Exit::WriteCr4 { value, len_bytes })
}

/// SDM vol. 3C, table 28-5.
fn port(qualification: u64, len_bytes: u8) -> Option<Exit> {
    const IN: u64 = 1 << 3;
    const STRING: u64 = 1 << 4;
    if qualification & STRING != 0 {
        return None;
    }
    let width = match qualification & 7 {
        0 => Width::Byte,
        1 => Width::Word,
        _ => Width::Double,
    };
    let port = u16::try_from(qualification >> 16 & 0xffff).ok()?;
    Some(Exit::Port(PortAccess { port, width, is_in: qualification & IN != 0, len_bytes }))
}

/// The fields that follow a guest's policy, which may change while the guest is on no CPU.
fn fill_capabilities(capabilities: &Capabilities) {
    const ENABLE_RDTSCP: u64 = 1 << 3;
    const ENABLE_INVPCID: u64 = 1 << 12;
    const ENABLE_XSAVES: u64 = 1 << 20;
    let wanted = |is_wanted: bool, bit: u64| if is_wanted { bit } else { 0 };
    Controls::SECONDARY.write(
        wanted(capabilities.has_rdtscp, ENABLE_RDTSCP)
            | wanted(capabilities.has_invpcid, ENABLE_INVPCID)
            | wanted(capabilities.has_xsaves, ENABLE_XSAVES),
    );
    // A bit that the guest may not set exits, and VMXE is the hypervisor's (SDM vol. 3C, 24.8: it is fixed to 1). So does PKE,
    // from which on PKRU is the guest's.
    vmcs::write(Field::CR4_MASK, !capabilities.cr4_bits | CR4_VMXE | CR4_PKE);
}

/// The fields that exits of this CPU load. Selectors of DS, ES, FS and GS are null, and their bases zero but for GS.
fn fill_host(own: &VmxCpu) {
    let (cr0, cr3, cr4) = control_registers();
    let read = |number| msr::read(number).unwrap_or_default();
    let fields = [
        (Field::HOST_CS, u64::from(own.segments.code)),
        (Field::HOST_TR, u64::from(own.segments.task)),
        (Field::HOST_CR0, cr0),
        (Field::HOST_CR3, cr3),
        (Field::HOST_CR4, cr4),
        (Field::HOST_EFER, read(EFER)),
        (Field::HOST_PAT, read(PAT)),
        (Field::HOST_GS_BASE, own.gs_base),
        (Field::HOST_TR_BASE, own.segments.task_base),
        (Field::HOST_GDTR_BASE, own.gdt_base),
        (Field::HOST_IDTR_BASE, own.segments.idt_base),
        (Field::HOST_S_CET, 0),
        (Field::HOST_SSP, 0),
        (Field::HOST_INT_SSP, 0),
    ];
    for (field, value) in fields {
        vmcs::write(field, value);
    }
}

fn control_registers() -> (u64, u64, u64) {
    let (cr0, cr3, cr4): (u64, u64, u64);
    // SAFETY: reading control registers in ring 0 changes nothing.
    unsafe {
        asm!(
            "mov {}, cr0", "mov {}, cr3", "mov {}, cr4",
            out(reg) cr0, out(reg) cr3, out(reg) cr4, options(nomem, nostack, preserves_flags)
        );
    }
    (cr0, cr3, cr4)
}
