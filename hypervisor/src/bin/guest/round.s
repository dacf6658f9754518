# One round: loads extended state and all general-purpose registers, waits, and saves what is there then.
#
# Nothing but this code runs between the loads and the saves: what differs was changed from outside.

.section .bss.guest_round, "aw", @nobits
.balign 8
round_block:                            # the block of the round that runs
    .skip 8
round_rdi:                              # RDI, while the block is addressed by it
    .skip 8
round_left:                             # how often the loop still goes round
    .skip 8

.section .text.guest_round, "ax", @progbits
.code64

.macro load_registers
    mov rax, qword ptr [rdi + {loaded} + 0 * 8]
    mov rcx, qword ptr [rdi + {loaded} + 1 * 8]
    mov rdx, qword ptr [rdi + {loaded} + 2 * 8]
    mov rbx, qword ptr [rdi + {loaded} + 3 * 8]
    mov rbp, qword ptr [rdi + {loaded} + 5 * 8]
    mov rsi, qword ptr [rdi + {loaded} + 6 * 8]
    mov r8, qword ptr [rdi + {loaded} + 8 * 8]
    mov r9, qword ptr [rdi + {loaded} + 9 * 8]
    mov r10, qword ptr [rdi + {loaded} + 10 * 8]
    mov r11, qword ptr [rdi + {loaded} + 11 * 8]
    mov r12, qword ptr [rdi + {loaded} + 12 * 8]
    mov r13, qword ptr [rdi + {loaded} + 13 * 8]
    mov r14, qword ptr [rdi + {loaded} + 14 * 8]
    mov r15, qword ptr [rdi + {loaded} + 15 * 8]
    mov rdi, qword ptr [rdi + {loaded} + 7 * 8]
.endm

# Writes XCR0 and IA32_XSS, from two fields of the block, if they are not those of the other two. Takes RAX, RCX, RDX, R8.
.macro switch_masks xcr0, xss, from_xcr0, from_xss
    mov r8, qword ptr [rdi + \xcr0]
    cmp r8, qword ptr [rdi + \from_xcr0]
    je 77f
    mov eax, r8d
    mov rdx, r8
    shr rdx, 32
    xor ecx, ecx
    xsetbv
77:
    mov r8, qword ptr [rdi + \xss]
    cmp r8, qword ptr [rdi + \from_xss]
    je 78f
    mov eax, r8d
    mov rdx, r8
    shr rdx, 32
    mov ecx, {xss_msr}
    wrmsr
78:
.endm

# guest_round(block: rdi)
.globl guest_round
.type guest_round, @function
guest_round:
    push rbx
    push rbp
    push r12
    push r13
    push r14
    push r15
    sub rsp, 8
    stmxcsr dword ptr [rsp]
    fnstcw word ptr [rsp + 4]
    mov qword ptr [rip + round_block], rdi
    mov rax, qword ptr [rdi + {spins}]
    mov qword ptr [rip + round_left], rax
    mov qword ptr [rdi + {loaded} + 4 * 8], rsp

    mov rsi, qword ptr [rdi + {image}]
    mov eax, dword ptr [rdi + {mask}]
    mov edx, dword ptr [rdi + {mask} + 4]
    cmp qword ptr [rdi + {method}], {xsave}
    je .Lload_with_xrstor
    ja .Lload_with_xrstors
    fxrstor64 [rsi]
    jmp .Lloaded
.Lload_with_xrstor:
    xrstor64 [rsi]
    jmp .Lloaded
.Lload_with_xrstors:
    xrstors64 [rsi]
.Lloaded:
    switch_masks {wait_xcr0}, {wait_xss}, {xcr0}, {xss}

    push qword ptr [rdi + {loaded_flags}]
    cmp qword ptr [rdi + {spins}], 0
    jne .Lspin
    load_registers
    popfq
    out dx, eax
    jmp .Lwaited
.Lspin:
    load_registers
    popfq
    # A physical interrupt ends the guest's turn whatever its IF is; Bochs looks for one only where IF changes.
    sti
.Lspin_on:
    dec qword ptr [rip + round_left]
    jnz .Lspin_on
    cli
.Lwaited:
    mov qword ptr [rip + round_rdi], rdi
    mov rdi, qword ptr [rip + round_block]
    mov qword ptr [rdi + {found} + 0 * 8], rax
    mov qword ptr [rdi + {found} + 1 * 8], rcx
    mov qword ptr [rdi + {found} + 2 * 8], rdx
    mov qword ptr [rdi + {found} + 3 * 8], rbx
    mov qword ptr [rdi + {found} + 4 * 8], rsp
    mov qword ptr [rdi + {found} + 5 * 8], rbp
    mov qword ptr [rdi + {found} + 6 * 8], rsi
    mov rax, qword ptr [rip + round_rdi]
    mov qword ptr [rdi + {found} + 7 * 8], rax
    mov qword ptr [rdi + {found} + 8 * 8], r8
    mov qword ptr [rdi + {found} + 9 * 8], r9
    mov qword ptr [rdi + {found} + 10 * 8], r10
    mov qword ptr [rdi + {found} + 11 * 8], r11
    mov qword ptr [rdi + {found} + 12 * 8], r12
    mov qword ptr [rdi + {found} + 13 * 8], r13
    mov qword ptr [rdi + {found} + 14 * 8], r14
    mov qword ptr [rdi + {found} + 15 * 8], r15
    pushfq
    pop qword ptr [rdi + {found_flags}]
    push 2                              # as compiled code wants them
    popfq

    switch_masks {xcr0}, {xss}, {wait_xcr0}, {wait_xss}
    mov rsi, qword ptr [rdi + {saved}]
    mov eax, dword ptr [rdi + {mask}]
    mov edx, dword ptr [rdi + {mask} + 4]
    cmp qword ptr [rdi + {method}], {xsave}
    je .Lsave_with_xsave
    ja .Lsave_with_xsaves
    fxsave64 [rsi]
    jmp .Lsaved
.Lsave_with_xsave:
    xsave64 [rsi]
    jmp .Lsaved
.Lsave_with_xsaves:
    xsaves64 [rsi]
.Lsaved:
    fninit
    fldcw word ptr [rsp + 4]
    ldmxcsr dword ptr [rsp]
    add rsp, 8
    pop r15
    pop r14
    pop r13
    pop r12
    pop rbp
    pop rbx
    ret
.size guest_round, . - guest_round
