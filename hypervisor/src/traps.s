# The stubs of all 256 vectors, and what they share.
#
# A stub leaves on the stack, from the lowest address: vector, error code (0 where the CPU pushes none), and what the
# CPU pushed: RIP, CS, RFLAGS, RSP, SS. No trap returns but behind a recoverable instruction, so no register is saved
# beyond the three that looking for it takes; and nothing here is compiled, so nothing uses SSE. Interrupts come only where
# a CPU waits for them; they are ended, and that is all.

.section .text.traps, "ax", @progbits
.code64

.balign 16
trap_stubs:
.set vector, 0
.rept 256
    .balign 16
    .if vector >= 32 || (({with_error_code} >> vector) & 1) == 0
    push 0
    .endif
    .byte 0x68                      # push the vector
    .long vector
    jmp trap
    .set vector, vector + 1
.endr
    .balign 16
.globl trap_stubs
.type trap_stubs, @function
.size trap_stubs, . - trap_stubs

trap:
    cld
    push rax
    push rcx
    push rdx
    test byte ptr [rsp + 48], 3
    jnz .Lin_ring_3
    mov ecx, dword ptr [rsp + 24]   # the vector
    cmp ecx, 32
    jae .Linterrupt
    mov eax, {recoverable}
    bt eax, ecx
    jnc .Lnot_foreseen

    # The table's rows are two distances: from the row to an instruction, and from the row's second half to behind it.
    mov rdx, qword ptr [rsp + 40]   # RIP
    mov ecx, offset recoverable_begin
.Lnext_row:
    cmp rcx, offset recoverable_end
    jae .Lnot_foreseen
    movsxd rax, dword ptr [rcx]
    add rax, rcx
    add rcx, 8
    cmp rax, rdx
    jne .Lnext_row

    movsxd rax, dword ptr [rcx - 4]
    lea rax, [rcx + rax - 4]
    mov qword ptr [rsp + 40], rax
    mov r8, qword ptr [rsp + 24]    # vector << 32 | error code
    shl r8, 32
    mov eax, dword ptr [rsp + 32]
    or r8, rax
    pop rdx
    pop rcx
    pop rax
    add rsp, 16
    iretq

    # Ring 3 runs nothing but its page (ring_3.s).
.Lin_ring_3:
    mov rax, {ring_3_page}
    xor rax, qword ptr [rsp + 40]
    cmp rax, 4096
    jae .Lnot_foreseen
    pop rdx
    pop rcx
    pop rax
    jmp leave_ring_3

.Linterrupt:
    cmp ecx, {spurious_interrupt}
    je .Lback
    cmp ecx, {interrupt}
    jne .Lnot_foreseen
    mov eax, {end_of_interrupt}
    mov dword ptr [rax], 0
.Lback:
    pop rdx
    pop rcx
    pop rax
    add rsp, 16
    iretq

.Lnot_foreseen:
    lea rdi, [rsp + 24]
    and rsp, -16
    call {unexpected}
    ud2
.size trap, . - trap
.type trap, @function
