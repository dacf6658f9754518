//! The way into guests and out of them.
//!
//! In: the SSE registers of the state's owner come back, the step moves extended state if the owner changes, the general
//! registers are loaded, the guest runs. Out: the other way round, without a step. No compiled code runs between.
#![expect(unsafe_code, reason = "UNSAFETY: enters guests")]

use core::arch::naked_asm;
use core::mem::offset_of;

use selfsame_x86::step;

use crate::context::{Context, Registers, SseRegisters};

/// The size of the registers XMM0 to XMM15, and where MXCSR is behind them.
const MXCSR: usize = 256;
const OWN_MXCSR: usize = 260;
const _: () = assert!(size_of::<SseRegisters>() >= OWN_MXCSR + 4);

/// Loads XMM0 to XMM15 and MXCSR from where RAX points: [`SseRegisters`].
macro_rules! load_sse {
    () => {
        concat!(
            "ldmxcsr dword ptr [rax + {mxcsr}]\n",
            "movaps xmm0, [rax + 0x0]\n",
            "movaps xmm1, [rax + 0x10]\n",
            "movaps xmm2, [rax + 0x20]\n",
            "movaps xmm3, [rax + 0x30]\n",
            "movaps xmm4, [rax + 0x40]\n",
            "movaps xmm5, [rax + 0x50]\n",
            "movaps xmm6, [rax + 0x60]\n",
            "movaps xmm7, [rax + 0x70]\n",
            "movaps xmm8, [rax + 0x80]\n",
            "movaps xmm9, [rax + 0x90]\n",
            "movaps xmm10, [rax + 0xa0]\n",
            "movaps xmm11, [rax + 0xb0]\n",
            "movaps xmm12, [rax + 0xc0]\n",
            "movaps xmm13, [rax + 0xd0]\n",
            "movaps xmm14, [rax + 0xe0]\n",
            "movaps xmm15, [rax + 0xf0]\n",
        )
    };
}

macro_rules! entry_stub {
    ($name:ident [$($field:ident)*], $doc:literal, $before:literal, $enter:literal, $($after:literal),*) => {
        #[doc = $doc]
        ///
        /// # Safety
        ///
        /// Every pointer of the context is valid, that of its orders to a residence too; the orders are of this CPU's switcher
        /// and not done yet; and the control block keeps the guest away from what is not its own.
        #[unsafe(naked)]
        pub(crate) unsafe extern "sysv64" fn $name(context: &mut Context) -> u64 {
            naked_asm!(
                "push rbp", "push rbx", "push r12", "push r13", "push r14", "push r15",
                "push rdi",
                "mov rax, qword ptr [rdi + {sse}]",
                load_sse!(),
                "call {step}",
                $before,
                "mov rdi, qword ptr [rdi + {registers}]",
                "mov rcx, qword ptr [rdi + {cr2}]",
                "mov cr2, rcx",
                "mov rcx, qword ptr [rdi + 0x08]", "mov rdx, qword ptr [rdi + 0x10]",
                "mov rbx, qword ptr [rdi + 0x18]", "mov rbp, qword ptr [rdi + 0x20]",
                "mov rsi, qword ptr [rdi + 0x28]", "mov r8, qword ptr [rdi + 0x38]",
                "mov r9, qword ptr [rdi + 0x40]", "mov r10, qword ptr [rdi + 0x48]",
                "mov r11, qword ptr [rdi + 0x50]", "mov r12, qword ptr [rdi + 0x58]",
                "mov r13, qword ptr [rdi + 0x60]", "mov r14, qword ptr [rdi + 0x68]",
                "mov r15, qword ptr [rdi + 0x70]",
                $enter,
                // The guest's RDI is on the stack, the context behind it.
                "push rdi",
                "mov rdi, qword ptr [rsp + 8]",
                "mov rdi, qword ptr [rdi + {registers}]",
                "mov qword ptr [rdi], rax",
                "mov qword ptr [rdi + 0x08], rcx", "mov qword ptr [rdi + 0x10], rdx",
                "mov qword ptr [rdi + 0x18], rbx", "mov qword ptr [rdi + 0x20], rbp",
                "mov qword ptr [rdi + 0x28], rsi", "pop qword ptr [rdi + 0x30]",
                "mov qword ptr [rdi + 0x38], r8", "mov qword ptr [rdi + 0x40], r9",
                "mov qword ptr [rdi + 0x48], r10", "mov qword ptr [rdi + 0x50], r11",
                "mov qword ptr [rdi + 0x58], r12", "mov qword ptr [rdi + 0x60], r13",
                "mov qword ptr [rdi + 0x68], r14", "mov qword ptr [rdi + 0x70], r15",
                "mov rax, cr2",
                "mov qword ptr [rdi + {cr2}], rax",
                "xor edx, edx",
                "5: pop rdi",
                $($after,)*
                "mov rax, qword ptr [rdi + {sse}]",
                "movaps [rax], xmm0", "movaps [rax + 0x10], xmm1", "movaps [rax + 0x20], xmm2",
                "movaps [rax + 0x30], xmm3", "movaps [rax + 0x40], xmm4", "movaps [rax + 0x50], xmm5",
                "movaps [rax + 0x60], xmm6", "movaps [rax + 0x70], xmm7", "movaps [rax + 0x80], xmm8",
                "movaps [rax + 0x90], xmm9", "movaps [rax + 0xa0], xmm10", "movaps [rax + 0xb0], xmm11",
                "movaps [rax + 0xc0], xmm12", "movaps [rax + 0xd0], xmm13", "movaps [rax + 0xe0], xmm14",
                "movaps [rax + 0xf0], xmm15",
                "stmxcsr dword ptr [rax + {mxcsr}]",
                "ldmxcsr dword ptr [rax + {own_mxcsr}]",
                "mov rax, rdx",
                "pop r15", "pop r14", "pop r13", "pop r12", "pop rbx", "pop rbp",
                "cld",
                "ret",
                sse = const offset_of!(Context, sse),
                registers = const offset_of!(Context, registers),
                $($field = const offset_of!(Context, $field),)*
                mxcsr = const MXCSR,
                own_mxcsr = const OWN_MXCSR,
                cr2 = const offset_of!(Registers, cr2),
                step = sym step,
            )
        }
    };
}

const _: () = assert!(offset_of!(Context, orders) == 0, "the step's argument is the context's address");
const _: () = assert!(offset_of!(Registers, rdi) == 0x30 && offset_of!(Registers, r8_to_r15) == 0x38);

entry_stub!(
    enter_svm [guest_block own_block],
    "Enters a guest with VMRUN, and returns at its exit, with 0. Physical interrupts end the guest; they are pending after.",
    "mov rax, qword ptr [rdi + {guest_block}]",
    "mov rdi, qword ptr [rdi + 0x30]
     clgi
     sti
     vmload rax
     vmrun rax
     vmsave rax
     cli",
    // FS, GS, TR and what SYSCALL needs are the CPU's own before anything can trap.
    "mov rax, qword ptr [rdi + {own_block}]",
    "vmload rax",
    "stgi"
);

entry_stub!(
    enter_vmx [is_launched],
    "Enters the guest of the current VMCS, and returns at its exit, with 0; with 1 or 2 if the entry failed, and there was
none: CF and ZF as VMLAUNCH and VMRESUME leave them.",
    // HOST_RSP and HOST_RIP: the exit finds the stack as it is here.
    "mov eax, 0x6c14
     vmwrite rax, rsp
     lea rdx, [rip + 3f]
     mov eax, 0x6c16
     vmwrite rax, rdx
     cmp byte ptr [rdi + {is_launched}], 0",
    "mov rax, qword ptr [rdi]
     mov rdi, qword ptr [rdi + 0x30]
     jne 2f
     vmlaunch
     jmp 4f
     2: vmresume
     4: mov edx, 1
     mov ecx, 2
     cmovz edx, ecx
     jmp 5f
     3:",
    "test edx, edx",
    "jnz 6f",
    "mov byte ptr [rdi + {is_launched}], 1",
    "6:"
);

/// Does the orders of a context without a guest: what is left of a flush.
///
/// # Safety
///
/// As for [`enter_svm`], but for the control block.
#[unsafe(naked)]
pub(crate) unsafe extern "sysv64" fn do_orders(context: &Context) {
    naked_asm!(
        "mov rax, qword ptr [rdi + {sse}]",
        load_sse!(),
        "call {step}",
        "mov rax, qword ptr [rdi + {sse}]",
        "ldmxcsr dword ptr [rax + {own_mxcsr}]",
        "ret",
        sse = const offset_of!(Context, sse),
        mxcsr = const MXCSR,
        own_mxcsr = const OWN_MXCSR,
        step = sym step,
    )
}
