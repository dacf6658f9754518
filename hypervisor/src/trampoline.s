# Where a CPU begins that another one started: real mode, CS:IP = 0x800:0. smp.rs copies this to 0x8000, so that all
# data is addressed from CS.

.section .rodata.trampoline, "a", @progbits
.code16
.globl trampoline
.type trampoline, @object
trampoline:
    jmp .Ltrampoline_code
    .balign 8
.Ltrampoline_gdt_pointer:             # at 8
    .word 4 * 8 - 1
    .long boot_gdt
.Ltrampoline_code:
    cli
    cld
    mov ax, cs
    mov ds, ax
    .byte 0x66, 0x0f, 0x01, 0x16, 0x08, 0x00   # lgdt [8], all 32 bits of the address
    mov eax, cr0
    or al, 1
    mov cr0, eax
    .byte 0x66, 0xea                # far jump to 32-bit code
    .long secondary_entry
    .word 24
trampoline_end:
.globl trampoline_end
.size trampoline, . - trampoline
.code64
