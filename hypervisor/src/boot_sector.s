# The first sector of a disk image: loads the program behind it and enters it in 32-bit protected mode.
#
# The BIOS enters at linear address 0x7c00 in real mode with the drive in DL. The program is read by LBA, 64 sectors at
# a time, into a buffer at 0x10000, and moved from there to where it belongs, above 1 MiB, through ES, whose limit stays
# 4 GiB after a visit to protected mode ("unreal mode"). The BIOS may undo that, so every round visits anew.
#
# The section is no part of what an ELF loader loads, and is linked at 0: labels are offsets into the sector. The image
# packer (xtask/src/image.rs) fills the fields in at the end.

.section .boot_sector, "", @progbits
.code16
boot_sector:
    cli
    cld
    mov ax, 0x7c0
    mov ds, ax
    xor ax, ax
    mov ss, ax
    mov sp, 0x7c00
    mov byte ptr [.Lboot_drive], dl

    in al, 0x92                     # address line 20 on, no reset
    or al, 2
    and al, 0xfe
    out 0x92, al

.Lboot_load:
    mov ax, word ptr [.Lboot_sectors_left]
    test ax, ax
    jz .Lboot_loaded
    cmp ax, 64
    jbe .Lboot_read
    mov ax, 64
.Lboot_read:
    mov word ptr [.Lboot_packet_count], ax
    mov si, offset .Lboot_packet
    mov dl, byte ptr [.Lboot_drive]
    mov ah, 0x42                    # extended read
    int 0x13
    jc .Lboot_failed

    cli
    lgdt [.Lboot_gdt_pointer]
    mov eax, cr0
    or al, 1
    mov cr0, eax
    mov bx, 16
    mov es, bx
    and al, 0xfe
    mov cr0, eax
    xor bx, bx
    mov es, bx

    mov edi, dword ptr [.Lboot_load_address]
    mov esi, 0x10000
    movzx ecx, word ptr [.Lboot_packet_count]
    sub word ptr [.Lboot_sectors_left], cx
    add dword ptr [.Lboot_packet_lba], ecx
    shl ecx, 7                      # doublewords
    .byte 0x26, 0x67, 0x66, 0xf3, 0xa5   # rep movsd es:[edi], es:[esi]
    mov dword ptr [.Lboot_load_address], edi
    jmp .Lboot_load

.Lboot_loaded:
    lgdt [.Lboot_gdt_pointer]
    mov eax, cr0
    or al, 1
    mov cr0, eax
    .byte 0x66, 0xea                # far jump to 32-bit code
    .long 0x7c00 + .Lboot_in_protected_mode
    .word 8

.code32
.Lboot_in_protected_mode:
    mov eax, 16
    mov ds, eax
    mov es, eax
    mov ss, eax
    mov eax, dword ptr [0x7c00 + .Lboot_entry_address]
    jmp eax

.code16
.Lboot_failed:
    mov dx, 0x3fb                   # the serial port: eight bits, which is not how it comes
    mov al, 3
    out dx, al
    mov si, offset .Lboot_failed_text
.Lboot_next_letter:
    lodsb
    test al, al
    jz .Lboot_stopped
    mov bl, al
    mov dx, 0x3fd
.Lboot_wait_for_port:
    in al, dx
    test al, 0x20
    jz .Lboot_wait_for_port
    mov dx, 0x3f8
    mov al, bl
    out dx, al
    jmp .Lboot_next_letter
.Lboot_stopped:
    cli
    hlt
    jmp .Lboot_stopped

.Lboot_failed_text:
    .asciz "the BIOS cannot read the disk\n"

    .balign 8
.Lboot_gdt:
    .quad 0, 0x00cf9b000000ffff, 0x00cf93000000ffff
.Lboot_gdt_pointer:
    .word .Lboot_gdt_pointer - .Lboot_gdt - 1
    .long 0x7c00 + .Lboot_gdt
    .word 0
.Lboot_packet:
    .byte 16, 0
.Lboot_packet_count:
    .word 0
    .word 0, 0x1000                 # the buffer, offset and segment
.Lboot_packet_lba:
    .long 1, 0
.Lboot_drive:
    .byte 0

    # What the packer fills in.
    .org 0x1f0
.Lboot_sectors_left:
    .long 0
.Lboot_load_address:
    .long 0
.Lboot_entry_address:
    .long 0
    .org 0x1fe
    .byte 0x55, 0xaa
.code64
