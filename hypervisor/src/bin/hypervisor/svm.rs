//! Guests under SVM: the control block (APM vol. 2, appendix B) and nested paging.
#![expect(unsafe_code, reason = "UNSAFETY: enters guests")]

use selfsame_hypervisor::pages::Pages;
use selfsame_hypervisor::{Fault, msr};

use crate::context::{Context, Registers};
use crate::entry::enter_svm;
use crate::exit::{Exit, PortAccess, Width};
use crate::guest_memory::GuestMemory;
use crate::instruction;
use crate::virtual_cpu::ModeState;

/// Offsets in the control block.
mod at {
    pub(crate) const CR_INTERCEPTS: usize = 0x000;
    pub(crate) const DR_INTERCEPTS: usize = 0x004;
    pub(crate) const INTERCEPTS_1: usize = 0x00c;
    pub(crate) const INTERCEPTS_2: usize = 0x010;
    pub(crate) const IO_PERMISSIONS: usize = 0x040;
    pub(crate) const MSR_PERMISSIONS: usize = 0x048;
    pub(crate) const ASID: usize = 0x058;
    pub(crate) const VIRTUAL_INTERRUPTS: usize = 0x060;
    pub(crate) const EXIT_CODE: usize = 0x070;
    pub(crate) const EXIT_INFO_1: usize = 0x078;
    pub(crate) const EXIT_INFO_2: usize = 0x080;
    pub(crate) const NESTED_PAGING: usize = 0x090;
    pub(crate) const EVENT: usize = 0x0a8;
    pub(crate) const NESTED_ROOT: usize = 0x0b0;
    pub(crate) const SEGMENTS: usize = 0x400;
    pub(crate) const CPL: usize = 0x4cb;
    pub(crate) const EFER: usize = 0x4d0;
    pub(crate) const CR4: usize = 0x548;
    pub(crate) const CR3: usize = 0x550;
    pub(crate) const CR0: usize = 0x558;
    pub(crate) const DR7: usize = 0x560;
    pub(crate) const DR6: usize = 0x568;
    pub(crate) const RFLAGS: usize = 0x570;
    pub(crate) const RIP: usize = 0x578;
    pub(crate) const RSP: usize = 0x5d8;
    pub(crate) const S_CET: usize = 0x5e0;
    pub(crate) const SSP_TABLE: usize = 0x5f0;
    pub(crate) const RAX: usize = 0x5f8;
    pub(crate) const PAT: usize = 0x668;
    /// Of a segment: attributes, limit; the selector is at 0 and the base at 8.
    pub(crate) const ATTRIBUTES: usize = 2;
    pub(crate) const LIMIT: usize = 4;
}

/// Of [`at::INTERCEPTS_1`]: interrupts, NMIs, writes of CR0 beyond TS and MP, CPUID, INVD, HLT, INVLPGA, ports, MSRs,
/// shutdown.
const INTERCEPTS_1: u32 =
    1 << 0 | 1 << 1 | 1 << 5 | 1 << 18 | 1 << 22 | 1 << 24 | 1 << 26 | 1 << 27 | 1 << 28 | 1 << 31;
/// Of [`at::INTERCEPTS_2`]: every instruction of SVM, WBINVD, MONITOR, MWAIT, XSETBV, RDPRU.
const INTERCEPTS_2: u32 = 0x7f | 1 << 9 | 1 << 10 | 1 << 11 | 1 << 12 | 1 << 13 | 1 << 14;
/// Of [`at::CR_INTERCEPTS`]: writes of CR4.
const CR4_WRITES: u32 = 1 << (16 + 4);
/// Of [`at::DR_INTERCEPTS`]: reads and writes of all.
const DR_ACCESSES: u32 = u32::MAX;
/// Of [`at::VIRTUAL_INTERRUPTS`]: the guest's IF does not mask physical interrupts.
const INTERRUPT_MASKING: u64 = 1 << 24;
/// Of EFER, which has it as long as the guest runs, whatever the guest sees.
const SVME: u64 = 1 << 12;

const EFER: u32 = 0xc000_0080;
const OWN_AREA: u32 = 0xc001_0117;

/// What a vCPU has for SVM.
#[derive(Debug)]
pub(crate) struct Svm {
    block: Pages,
    io_permissions: Pages,
    msr_permissions: Pages,
    /// EFER.SVME as the guest has written it.
    svme: u64,
}

/// What a CPU has for SVM: where VMRUN and VMSAVE put what is its own.
#[derive(Debug)]
pub(crate) struct SvmCpu {
    _vmrun: Pages,
    vmsave: Pages,
}

impl SvmCpu {
    /// Turns SVM on, on this CPU.
    pub(crate) fn turn_on() -> Option<Self> {
        let (vmrun, vmsave) = (Pages::take(1, 1)?, Pages::take(1, 1)?);
        let efer = msr::read(EFER).ok()?;
        // SAFETY: SVM changes nothing for who does not use it.
        unsafe { msr::write(EFER, efer | SVME) }.ok()?;
        // SAFETY: the page is kept for it.
        unsafe { msr::write(OWN_AREA, vmrun.address()) }.ok()?;
        // SAFETY: the page is kept for it; SVM is on.
        unsafe { core::arch::asm!("vmsave rax", in("rax") vmsave.address(), options(nostack, preserves_flags)) };
        Some(Self { _vmrun: vmrun, vmsave })
    }
}

impl Svm {
    /// A vCPU that begins at `start` in 32-bit protected mode, and sees `memory`. `number` is its own on the machine.
    pub(crate) fn new(memory: &mut GuestMemory, start: u32, number: u16) -> Option<Self> {
        let mut svm = Self {
            block: Pages::take(1, 1)?,
            io_permissions: Pages::take(3, 1)?,
            msr_permissions: Pages::take(2, 1)?,
            svme: 0,
        };
        svm.io_permissions.bytes_mut().fill(0xff);
        svm.msr_permissions.bytes_mut().fill(0xff);
        let root = memory.nested_tables()?;
        let (io, msrs) = (svm.io_permissions.address(), svm.msr_permissions.address());
        svm.set32(at::CR_INTERCEPTS, CR4_WRITES);
        svm.set32(at::DR_INTERCEPTS, DR_ACCESSES);
        svm.set32(at::INTERCEPTS_1, INTERCEPTS_1);
        svm.set32(at::INTERCEPTS_2, INTERCEPTS_2);
        svm.set(at::IO_PERMISSIONS, io);
        svm.set(at::MSR_PERMISSIONS, msrs);
        svm.set(at::ASID, u64::from(number + 1));
        svm.set(at::VIRTUAL_INTERRUPTS, INTERRUPT_MASKING);
        svm.set(at::NESTED_PAGING, 1);
        svm.set(at::NESTED_ROOT, root);
        // ES, CS, SS, DS, FS, GS.
        for (place, code) in [false, true, false, false, false, false].into_iter().enumerate() {
            let (selector, attributes) = if code { (0x08, 0xc9b) } else { (0x10, 0xc93) };
            svm.set_segment(place, selector, attributes, u32::MAX);
        }
        // GDTR, LDTR, IDTR, TR.
        svm.set_segment(6, 0, 0, 0xffff);
        svm.set_segment(7, 0, 0x82, 0xffff);
        svm.set_segment(8, 0, 0, 0xffff);
        svm.set_segment(9, 0, 0x8b, 0xffff);
        svm.set(at::EFER, SVME);
        svm.set(at::CR0, 0x11);
        svm.set(at::DR6, selfsame_switch::DR6_RESET);
        svm.set(at::DR7, selfsame_switch::DR7_RESET);
        svm.set(at::RFLAGS, 2);
        svm.set(at::RIP, u64::from(start));
        svm.set(at::PAT, 0x0007_0406_0007_0406);
        Some(svm)
    }

    fn set_segment(&mut self, place: usize, selector: u16, attributes: u16, limit: u32) {
        let first = at::SEGMENTS + place * 16;
        self.set32(first, u32::from(selector) | u32::from(attributes) << (8 * at::ATTRIBUTES));
        self.set32(first + at::LIMIT, limit);
    }

    fn get(&self, at: usize) -> u64 {
        self.block.words().get(at / 8).copied().unwrap_or_default()
    }

    fn set(&mut self, at: usize, value: u64) {
        if let Some(word) = self.block.words_mut().get_mut(at / 8) {
            *word = value;
        }
    }

    fn set32(&mut self, at: usize, value: u32) {
        if let Some(bytes) = self.block.bytes_mut().get_mut(at..at + 4) {
            bytes.copy_from_slice(&value.to_le_bytes());
        }
    }

    /// Runs the guest until it exits.
    pub(crate) fn run(
        &mut self,
        own: &SvmCpu,
        context: &mut Context,
        registers: &mut Registers,
        memory: &GuestMemory,
    ) -> Exit {
        self.set(at::RAX, registers.rax);
        context.guest_block = self.block.address();
        context.own_block = own.vmsave.address();
        context.registers = registers;
        // SAFETY: the pointers are set above and by the caller, who made the orders; the control block intercepts what is
        // not the guest's own, and its nested tables map its own memory alone.
        unsafe { enter_svm(context) };
        registers.rax = self.get(at::RAX);
        self.set(at::EVENT, 0);
        self.exit(registers, memory)
    }

    fn exit(&self, registers: &Registers, memory: &GuestMemory) -> Exit {
        let (code, info) = (self.get(at::EXIT_CODE), self.get(at::EXIT_INFO_1));
        match code {
            0x14 => match self.moved_to_cr(4, registers, memory) {
                Some((value, len_bytes)) => Exit::WriteCr4 { value, len_bytes },
                None => Exit::Other { code, detail: info },
            },
            0x65 => match self.moved_to_cr(0, registers, memory) {
                Some((value, len_bytes)) => Exit::WriteCr0 { value, len_bytes },
                None => Exit::Other { code, detail: info },
            },
            0x20..=0x3f => Exit::DebugRegister,
            0x60 => Exit::Interrupt { is_acknowledged: false },
            0x72 => Exit::Cpuid,
            0x78 => Exit::Hlt,
            0x7b => self.port(info),
            0x7c if info == 0 => Exit::ReadMsr,
            0x7c => Exit::WriteMsr,
            0x7f => Exit::Shutdown,
            // INVLPGA, all of SVM, RDPRU, MONITOR and MWAIT: as on a CPU that does not have them.
            0x7a | 0x80..=0x86 | 0x8a..=0x8c | 0x8e => Exit::Undefined,
            0x8d => Exit::Xsetbv,
            0x400 => Exit::NoMemory { address: self.get(at::EXIT_INFO_2) },
            _ => Exit::Other { code, detail: info },
        }
    }

    /// What the instruction that exited moves to a control register, and its length.
    fn moved_to_cr(&self, number: u8, registers: &Registers, memory: &GuestMemory) -> Option<(u64, u8)> {
        let (from, len_bytes) = instruction::mov_to_cr(number, &self.mode(), memory)?;
        Some((registers.by_number(from).unwrap_or_else(|| self.get(at::RSP)), len_bytes))
    }

    /// APM vol. 2, 15.10.2.
    fn port(&self, info: u64) -> Exit {
        const IN: u64 = 1 << 0;
        const STRING: u64 = 1 << 2;
        const BYTE: u64 = 1 << 4;
        const WORD: u64 = 1 << 5;
        if info & STRING != 0 {
            return Exit::Other { code: self.get(at::EXIT_CODE), detail: info };
        }
        let width = match info & (BYTE | WORD) {
            BYTE => Width::Byte,
            WORD => Width::Word,
            _ => Width::Double,
        };
        let len_bytes = self.get(at::EXIT_INFO_2).wrapping_sub(self.get(at::RIP));
        Exit::Port(PortAccess {
            port: u16::try_from(info >> 16 & 0xffff).unwrap_or_default(),
            width,
            is_in: info & IN != 0,
            len_bytes: u8::try_from(len_bytes).unwrap_or(1),
        })
    }

    pub(crate) fn mode(&self) -> ModeState {
        const LMA: u64 = 1 << 10;
        const LONG_CODE: u64 = 1 << (16 + 9);
        let efer = self.get(at::EFER);
        let is_64_bit_code = efer & LMA != 0 && self.get(at::SEGMENTS + 16) & LONG_CODE != 0;
        ModeState {
            rip: self.get(at::RIP),
            cr0: self.get(at::CR0),
            cr3: self.get(at::CR3),
            cr4: self.get(at::CR4),
            efer: efer & !SVME | self.svme,
            cpl: self.block.bytes().get(at::CPL).copied().unwrap_or_default(),
            is_64_bit_code,
        }
    }

    pub(crate) fn pass_msr(&mut self, number: u32) {
        /// The ranges that have permissions, where their bits begin, in bytes (APM vol. 2, 15.11).
        const RANGES: [(u32, usize); 3] = [(0, 0), (0xc000_0000, 0x800), (0xc001_0000, 0x1000)];
        const RANGE_LEN: u32 = 0x2000;
        for (first, byte) in RANGES {
            let Some(within) = number.checked_sub(first).filter(|&within| within < RANGE_LEN) else { continue };
            // Two bits a register: reads, writes.
            if let Some(byte) = self.msr_permissions.bytes_mut().get_mut(byte + within as usize / 4) {
                *byte &= !(3 << (within % 4 * 2));
            }
        }
    }

    pub(crate) fn advance(&mut self, len_bytes: u8) {
        const SHADOW: usize = 0x068;
        self.set(at::RIP, self.mode().rip.wrapping_add(u64::from(len_bytes)));
        // STI and MOV SS hold interrupts back for one instruction, which is done.
        self.set(SHADOW, 0);
    }

    pub(crate) fn instruction_len_bytes(&self, memory: &GuestMemory) -> u8 {
        instruction::len_bytes(&self.mode(), memory)
    }

    /// APM vol. 2, 15.20.
    pub(crate) fn raise(&mut self, fault: Fault) {
        const VALID: u64 = 1 << 31;
        const EXCEPTION: u64 = 3 << 8;
        const HAS_ERROR: u64 = 1 << 11;
        let error = if fault.has_error_code() { HAS_ERROR | u64::from(fault.error) << 32 } else { 0 };
        self.set(at::EVENT, u64::from(fault.vector) | EXCEPTION | VALID | error);
    }

    /// For CPUs that take them from here.
    pub(crate) fn set_cet(&mut self, place: usize, value: u64) {
        self.set(if place == 0 { at::S_CET } else { at::SSP_TABLE }, value);
    }

    /// EFER.LMA follows paging.
    pub(crate) fn set_cr0(&mut self, value: u64) {
        const PAGING: u64 = 1 << 31;
        const LME: u64 = 1 << 8;
        const LMA: u64 = 1 << 10;
        let efer = self.get(at::EFER);
        let is_active = value & PAGING != 0 && efer & LME != 0;
        self.set(at::CR0, value);
        self.set(at::EFER, if is_active { efer | LMA } else { efer & !LMA });
    }

    pub(crate) fn set_cr4(&mut self, value: u64) {
        self.set(at::CR4, value);
    }

    /// EFER.SVME is set while the guest runs, whatever it sees.
    pub(crate) fn set_efer(&mut self, value: u64) {
        const LMA: u64 = 1 << 10;
        let lma = self.get(at::EFER) & LMA;
        self.svme = value & SVME;
        self.set(at::EFER, value & !LMA | lma | SVME);
    }

    pub(crate) fn grant_debug_registers(&mut self) {
        self.set32(at::DR_INTERCEPTS, 0);
    }
}
