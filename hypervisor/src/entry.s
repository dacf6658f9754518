# From 32-bit protected mode without paging, flat segments, to 64-bit mode.

# QEMU's -kernel finds the entry by this note (PVH: type 18, an address of 32 bits, of the owner "Xen").
.section .note.pvh, "a", @note
    .balign 4
    .long 4, 4, 18
    .asciz "Xen"
    .long entry

.section .entry, "ax", @progbits
.code32
.globl entry
.type entry, @function
entry:
    cli
    cld
    mov edi, offset bss_begin
    mov ecx, offset bss_end
    sub ecx, edi
    shr ecx, 2
    xor eax, eax
    rep stosd
    mov esp, offset {cpus} + {stack_top}

    # Without 64-bit mode there is nothing to go to. CPUID is there if bit 21 of EFLAGS can be changed.
    pushfd
    pop eax
    mov ecx, eax
    xor eax, 1 << 21
    push eax
    popfd
    pushfd
    pop eax
    cmp eax, ecx
    je .Lno_64_bit_mode
    mov eax, 0x80000000
    cpuid
    cmp eax, 0x80000001
    jb .Lno_64_bit_mode
    cmp eax, 0x80000100
    jae .Lno_64_bit_mode
    mov eax, 0x80000001
    cpuid
    bt edx, 29
    jnc .Lno_64_bit_mode

    # The first 4 GiB in pages of 2 MiB, writable, for ring 0; devices are in the fourth, which is uncached.
    mov edi, offset .Ldirectories
    mov eax, 0x83
    xor edx, edx
.Lnext_page:
    cmp eax, 0xc0000000
    jb .Lcached
    or eax, 0x18
.Lcached:
    mov dword ptr [edi], eax
    mov dword ptr [edi + 4], edx
    add edi, 8
    add eax, 0x200000
    jnc .Lnext_page
    mov edi, offset .Ldirectory_pointers
    mov eax, offset .Ldirectories + 3
    mov ecx, 4
.Lnext_directory:
    mov dword ptr [edi], eax
    add edi, 8
    add eax, 0x1000
    loop .Lnext_directory
    # One page for ring 3, read-only, behind them.
    mov eax, offset .Lring_3_directory + 7
    mov dword ptr [.Ldirectory_pointers + 8 * {ring_3_gib}], eax
    mov eax, offset .Lring_3_table + 7
    mov dword ptr [.Lring_3_directory], eax
    mov eax, offset ring_3_page + 5
    mov dword ptr [.Lring_3_table], eax
    mov eax, offset .Ldirectory_pointers + 7
    mov dword ptr [.Lroot], eax

    # Every CPU comes this way, with flat data segments and, but for the boot CPU, with no stack.
.Lenter_64_bit_mode:
    mov eax, cr4
    or eax, 0x620                   # PAE; OSFXSR, OSXMMEXCPT: compiled code uses SSE
    mov cr4, eax
    mov eax, offset .Lroot
    mov cr3, eax
    mov ecx, 0xc0000080             # EFER.LME
    rdmsr
    or eax, 1 << 8
    wrmsr
    mov eax, cr0
    and eax, 0x9ffffff3             # not CD, NW, which INIT sets; not EM, TS: SSE works
    or eax, 0x80010023              # PG, WP, NE, MP, PE
    mov cr0, eax
    lgdt [.Lgdt_pointer]
    .byte 0xea                      # far jump
    .long .Lin_64_bit_mode
    .word 8

.code64
.Lin_64_bit_mode:
    mov eax, 16
    mov ds, eax
    mov es, eax
    mov ss, eax
    xor eax, eax
    mov fs, eax
    mov gs, eax
    mov eax, 1                      # the local APIC ID
    cpuid
    shr ebx, 24
    cmp ebx, {max_cpus}
    jae .Lno_area
    mov edi, ebx
    imul rbx, rbx, {cpu_bytes}
    lea rsp, [rbx + {cpus} + {stack_top}]
    xor ebp, ebp
    call {start}
    ud2
.Lno_area:
    cli
    hlt
    jmp .Lno_area

.code32
.Lno_64_bit_mode:
    mov dx, 0x3fb                   # eight bits, which is not how the port comes
    mov al, 3
    out dx, al
    mov esi, offset .Lno_64_bit_mode_text
.Lnext_byte:
    mov dx, 0x3fd
.Lwait_for_port:
    in al, dx
    test al, 0x20
    jz .Lwait_for_port
    lodsb
    test al, al
    jz .Lsaid
    mov dx, 0x3f8
    out dx, al
    jmp .Lnext_byte
.Lsaid:
    mov dx, 0x3fd
.Lwait_for_drain:
    in al, dx
    test al, 0x40
    jz .Lwait_for_drain
    mov al, 0x11                    # as exit.rs ends a failure
    out 0xf4, al
    mov esi, offset .Lshutdown_text
    mov ecx, 8
    mov dx, 0x8900
    rep outsb
.Lstop:
    cli
    hlt
    jmp .Lstop
.size entry, . - entry

# A CPU that another one started comes here from trampoline.s, which has loaded boot_gdt.
.globl secondary_entry
.type secondary_entry, @function
secondary_entry:
    mov eax, 16
    mov ds, eax
    jmp .Lenter_64_bit_mode
.size secondary_entry, . - secondary_entry

.section .rodata.entry, "a", @progbits
.Lno_64_bit_mode_text:
    .asciz "this CPU has no 64-bit mode\n"
.Lshutdown_text:
    .ascii "Shutdown"

    .balign 8
.globl boot_gdt
boot_gdt:
    .quad 0, {code_64}, {data_32}, {code_32}
.Lgdt_pointer:
    .word .Lgdt_pointer - boot_gdt - 1
    .long boot_gdt
    .long 0

.section .bss.tables, "aw", @nobits
    .balign 4096
.Lroot:
    .skip 4096
.Ldirectory_pointers:
    .skip 4096
.Ldirectories:
    .skip 4 * 4096
.Lring_3_directory:
    .skip 4096
.Lring_3_table:
    .skip 4096
.code64
