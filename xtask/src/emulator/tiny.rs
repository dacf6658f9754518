//! The smallest images there are, written as bytes: what the emulators themselves are tried with.

/// What the images that speak write to COM1.
pub(crate) const LINE: &str = "selfsame\r\n";

/// Where the BIOS puts a boot sector, and with it the addresses in the code below.
const TEXT_OFFSET: usize = 0x60;
const SHUTDOWN_OFFSET: usize = 0x80;

/// Writes [`LINE`] to COM1 and asks for the end: QEMU by port 0xf4, then Bochs by port 0x8900.
#[rustfmt::skip]
pub(crate) const SPEAKING: [u8; 512] = sector(&[
    0xfa,                   //        cli
    0x31, 0xc0,             //        xor ax, ax
    0x8e, 0xd8,             //        mov ds, ax
    0xfc,                   //        cld
    0xba, 0xfb, 0x03,       //        mov dx, 0x3fb       line control:
    0xb0, 0x03,             //        mov al, 3           8 bits, no parity
    0xee,                   //        out dx, al
    0xbe, 0x60, 0x7c,       //        mov si, 0x7c60      the text
    0xac,                   // next:  lodsb
    0x84, 0xc0,             //        test al, al
    0x74, 0x11,             //        jz end
    0x88, 0xc3,             //        mov bl, al
    0xba, 0xfd, 0x03,       //        mov dx, 0x3fd       line status:
    0xec,                   // full:  in al, dx
    0xa8, 0x20,             //        test al, 0x20       may the next byte come?
    0x74, 0xfb,             //        jz full
    0xb2, 0xf8,             //        mov dl, 0xf8
    0x88, 0xd8,             //        mov al, bl
    0xee,                   //        out dx, al
    0xeb, 0xea,             //        jmp next
    0xb2, 0xfd,             // end:   mov dl, 0xfd        line status:
    0xec,                   // busy:  in al, dx
    0xa8, 0x40,             //        test al, 0x40       has the last bit gone out?
    0x74, 0xfb,             //        jz busy
    0xba, 0xf4, 0x00,       //        mov dx, 0xf4        QEMU ends here
    0xb0, 0x10,             //        mov al, 0x10
    0xee,                   //        out dx, al
    0xbe, 0x80, 0x7c,       //        mov si, 0x7c80      the word for Bochs
    0xba, 0x00, 0x89,       //        mov dx, 0x8900
    0xb9, 0x08, 0x00,       //        mov cx, 8
    0xf3, 0x6e,             //        rep outsb           Bochs ends here
    0xf4,                   // halt:  hlt
    0xeb, 0xfd,             //        jmp halt
]);

/// Writes the low half of the TSC to COM1, a letter from A to P for four bits, and asks for the end like [`SPEAKING`].
#[rustfmt::skip]
pub(crate) const TICKING: [u8; 512] = sector(&[
    0xfa,                   //        cli
    0x31, 0xc0,             //        xor ax, ax
    0x8e, 0xd8,             //        mov ds, ax
    0xfc,                   //        cld
    0x0f, 0x31,             //        rdtsc
    0x66, 0x89, 0xc3,       //        mov ebx, eax
    0xb9, 0x08, 0x00,       //        mov cx, 8
    0x66, 0xc1, 0xc3, 0x04, // next:  rol ebx, 4
    0x88, 0xd8,             //        mov al, bl
    0x24, 0x0f,             //        and al, 0xf
    0x04, 0x41,             //        add al, 'A'
    0xba, 0xf8, 0x03,       //        mov dx, 0x3f8
    0xee,                   //        out dx, al
    0xb2, 0xfd,             //        mov dl, 0xfd        line status:
    0xec,                   // busy:  in al, dx
    0xa8, 0x40,             //        test al, 0x40       has the last bit gone out?
    0x74, 0xfb,             //        jz busy
    0xe2, 0xe9,             //        loop next
    0xba, 0xf4, 0x00,       //        mov dx, 0xf4        QEMU ends here
    0xb0, 0x10,             //        mov al, 0x10
    0xee,                   //        out dx, al
    0xbe, 0x80, 0x7c,       //        mov si, 0x7c80      the word for Bochs
    0xba, 0x00, 0x89,       //        mov dx, 0x8900
    0xb9, 0x08, 0x00,       //        mov cx, 8
    0xf3, 0x6e,             //        rep outsb           Bochs ends here
    0xf4,                   // halt:  hlt
    0xeb, 0xfd,             //        jmp halt
]);

/// Asks Bochs for the end without a word.
#[rustfmt::skip]
pub(crate) const SILENT: [u8; 512] = sector(&[
    0x31, 0xc0,             //        xor ax, ax
    0x8e, 0xd8,             //        mov ds, ax
    0xfc,                   //        cld
    0xbe, 0x80, 0x7c,       //        mov si, 0x7c80      the word for Bochs
    0xba, 0x00, 0x89,       //        mov dx, 0x8900
    0xb9, 0x08, 0x00,       //        mov cx, 8
    0xf3, 0x6e,             //        rep outsb
    0xf4,                   //        hlt
]);

/// Halts for ever.
#[rustfmt::skip]
pub(crate) const HALTING: [u8; 512] = sector(&[
    0xfa,                   //        cli
    0xf4,                   // halt:  hlt
    0xeb, 0xfd,             //        jmp halt
]);

/// Faults with an empty interrupt table, which faults, which faults.
#[rustfmt::skip]
pub(crate) const TRIPLE_FAULTING: [u8; 512] = sector(&[
    0x31, 0xc0,                     //        xor ax, ax
    0x8e, 0xd8,                     //        mov ds, ax
    0x0f, 0x01, 0x1e, 0xf0, 0x7c,   //        lidt [0x7cf0]       zeros
    0xcc,                           //        int3
]);

/// A boot sector of this code, with the text and the word for Bochs where the code expects them.
const fn sector(code: &[u8]) -> [u8; 512] {
    let mut sector = [0; 512];
    put(&mut sector, 0, code);
    put(&mut sector, TEXT_OFFSET, LINE.as_bytes());
    put(&mut sector, SHUTDOWN_OFFSET, b"Shutdown");
    put(&mut sector, 510, &[0x55, 0xaa]);
    sector
}

/// Where the kernel is loaded, and where in it the text is.
const KERNEL_BASE: u32 = 0x10_0000;
const KERNEL_ENTRY_OFFSET: u32 = 0x60;
const KERNEL_TEXT_OFFSET: usize = 0x90;
const KERNEL_LEN: u32 = 0xa0;

/// A multiboot kernel as a 32-bit ELF file. It writes [`LINE`] to COM1 and asks QEMU for the end.
#[rustfmt::skip]
pub(crate) const KERNEL: [u8; KERNEL_LEN as usize] = kernel(&[
    0xfa,                         //        cli
    0xbe, 0x90, 0x00, 0x10, 0x00, //        mov esi, 0x100090   the text
    0xac,                         // next:  lodsb
    0x84, 0xc0,                   //        test al, al
    0x74, 0x12,                   //        jz end
    0x88, 0xc3,                   //        mov bl, al
    0x66, 0xba, 0xfd, 0x03,       //        mov dx, 0x3fd       line status:
    0xec,                         // full:  in al, dx
    0xa8, 0x20,                   //        test al, 0x20       may the next byte come?
    0x74, 0xfb,                   //        jz full
    0xb2, 0xf8,                   //        mov dl, 0xf8
    0x88, 0xd8,                   //        mov al, bl
    0xee,                         //        out dx, al
    0xeb, 0xe9,                   //        jmp next
    0xb2, 0xfd,                   // end:   mov dl, 0xfd        line status:
    0xec,                         // busy:  in al, dx
    0xa8, 0x40,                   //        test al, 0x40       has the last bit gone out?
    0x74, 0xfb,                   //        jz busy
    0x66, 0xba, 0xf4, 0x00,       //        mov dx, 0xf4
    0xb0, 0x10,                   //        mov al, 0x10
    0xee,                         //        out dx, al
    0xf4,                         // halt:  hlt
    0xeb, 0xfd,                   //        jmp halt
]);

/// The same file with other code: it writes the low half of the TSC to COM1 as [`TICKING`] does.
#[rustfmt::skip]
pub(crate) const TICKING_KERNEL: [u8; KERNEL_LEN as usize] = kernel(&[
    0xfa,                         //        cli
    0x0f, 0x31,                   //        rdtsc
    0x89, 0xc3,                   //        mov ebx, eax
    0xb9, 0x08, 0x00, 0x00, 0x00, //        mov ecx, 8
    0xc1, 0xc3, 0x04,             // next:  rol ebx, 4
    0x88, 0xd8,                   //        mov al, bl
    0x24, 0x0f,                   //        and al, 0xf
    0x04, 0x41,                   //        add al, 'A'
    0x66, 0xba, 0xf8, 0x03,       //        mov dx, 0x3f8
    0xee,                         //        out dx, al
    0xb2, 0xfd,                   //        mov dl, 0xfd        line status:
    0xec,                         // busy:  in al, dx
    0xa8, 0x40,                   //        test al, 0x40       has the last bit gone out?
    0x74, 0xfb,                   //        jz busy
    0xe2, 0xe9,                   //        loop next
    0x66, 0xba, 0xf4, 0x00,       //        mov dx, 0xf4
    0xb0, 0x10,                   //        mov al, 0x10
    0xee,                         //        out dx, al
    0xf4,                         // halt:  hlt
    0xeb, 0xfd,                   //        jmp halt
]);

/// The file header, one program header that loads the whole file, the multiboot header, the code and the text.
const fn kernel(code: &[u8]) -> [u8; KERNEL_LEN as usize] {
    const MULTIBOOT_MAGIC: u32 = 0x1bad_b002;
    // Type, machine and version; entry, program headers, section headers; flags; sizes and counts of the tables.
    const FILE_HEADER: [u32; 9] = [3 << 16 | 2, 1, KERNEL_BASE + KERNEL_ENTRY_OFFSET, 52, 0, 0, 32 << 16 | 52, 1, 0];
    // To load; offset, virtual and physical address; length in the file and in memory; all rights; alignment.
    const PROGRAM_HEADER: [u32; 8] = [1, 0, KERNEL_BASE, KERNEL_BASE, KERNEL_LEN, KERNEL_LEN, 7, 0x1000];
    const MULTIBOOT_HEADER: [u32; 3] = [MULTIBOOT_MAGIC, 0, MULTIBOOT_MAGIC.wrapping_neg()];
    let mut file = [0; KERNEL_LEN as usize];
    // 32-bit, little-endian, version 1.
    put(&mut file, 0, b"\x7fELF\x01\x01\x01");
    put_words(&mut file, 16, &FILE_HEADER);
    put_words(&mut file, 52, &PROGRAM_HEADER);
    put_words(&mut file, 84, &MULTIBOOT_HEADER);
    put(&mut file, KERNEL_ENTRY_OFFSET as usize, code);
    put(&mut file, KERNEL_TEXT_OFFSET, LINE.as_bytes());
    file
}

const fn put(to: &mut [u8], offset: usize, bytes: &[u8]) {
    let mut index = 0;
    while index < bytes.len() {
        assert!(to[offset + index] == 0, "two parts overlap");
        to[offset + index] = bytes[index];
        index += 1;
    }
}

const fn put_words(to: &mut [u8], offset: usize, words: &[u32]) {
    let mut index = 0;
    while index < words.len() {
        put(to, offset + 4 * index, &words[index].to_le_bytes());
        index += 1;
    }
}
