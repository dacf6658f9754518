//! The x87 component: its 160 bytes as a CPU would write them.

/// Size of the component, the bytes of MXCSR among them (SDM vol. 1, 13.4.1).
pub(crate) const X87_BYTES: usize = 160;
/// The bytes of MXCSR and its mask, which lie among those of x87 and are not part of it.
const MXCSR_START: usize = 24;

/// The bytes in the initial configuration: FCW is 0x37F, and all else is zero (SDM vol. 1, 13.6).
pub(crate) const X87_INITIAL: [u8; X87_BYTES] = {
    let mut bytes = [0; X87_BYTES];
    [bytes[0], bytes[1]] = FCW_INITIAL.to_le_bytes();
    bytes
};

const FCW_INITIAL: u16 = 0x37F;
/// Bit 6 of the control word reads as one; 7 and 13 to 15 read as zero (SDM vol. 1, 8.1.5).
const FCW_FIXED: u16 = 1 << 6;
const FCW_USED: u16 = 0x1F3F;
/// The exceptions in the status word and their masks in the control word lie at the same bits (SDM vol. 1, 8.1.3, 8.1.5).
const EXCEPTIONS: u16 = 0x3F;
/// ES and B: an unmasked exception is pending (SDM vol. 1, 8.1.3.3).
const PENDING: u16 = 0x8080;
/// An opcode has eleven bits (SDM vol. 1, 8.1.9).
const FOP_USED: u16 = 0x7FF;
/// A register has 80 of its 128 bits.
const REGISTER_USED: u128 = (1 << 80) - 1;

/// Returns the component as a CPU writes it that has loaded `bytes`: reserved bits have their fixed values, and ES and B follow
/// from the exceptions. The bytes of MXCSR are zero.
///
/// The pointers to instruction and operand stay: whether a CPU keeps them depends on its vendor and on the exceptions.
#[inline]
pub(crate) fn canonical(bytes: &[u8; X87_BYTES]) -> [u8; X87_BYTES] {
    let mut canonical = *bytes;
    let (words, _) = canonical.as_chunks_mut::<2>();
    if let [fcw, fsw, ftw, fop, ..] = words {
        let control = u16::from_le_bytes(*fcw) & FCW_USED | FCW_FIXED;
        let status = u16::from_le_bytes(*fsw);
        let is_pending = status & !control & EXCEPTIONS != 0;
        *fcw = control.to_le_bytes();
        *fsw = if is_pending { status | PENDING } else { status & !PENDING }.to_le_bytes();
        // The abridged tags are one byte; the other is reserved (SDM vol. 1, 10.5.1.1).
        ftw[1] = 0;
        *fop = (u16::from_le_bytes(*fop) & FOP_USED).to_le_bytes();
    }
    let (slots, _) = canonical.as_chunks_mut::<16>();
    if let [_, pointers, registers @ ..] = slots {
        pointers[MXCSR_START - 16..].fill(0);
        for register in registers {
            *register = (u128::from_le_bytes(*register) & REGISTER_USED).to_le_bytes();
        }
    }
    canonical
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_initial_configuration_is_canonical() {
        assert_eq!(canonical(&X87_INITIAL), X87_INITIAL);
    }

    #[test]
    fn reserved_bits_read_as_a_cpu_writes_them() {
        let ones = canonical(&[0xFF; X87_BYTES]);
        assert_eq!(ones[..8], [0x7F, 0x1F, 0x7F, 0x7F, 0xFF, 0, 0xFF, 0x07]);
        assert_eq!(ones[8..24], [0xFF; 16], "pointers stay");
        assert_eq!(ones[24..32], [0; 8], "mxcsr is not part of x87");
        assert_eq!((&ones[32..42], &ones[42..48]), (&[0xFF; 10][..], &[0; 6][..]));
        assert_eq!(canonical(&ones), ones);
    }

    #[test]
    fn es_and_b_follow_from_the_unmasked_exceptions() {
        let mut bytes = X87_INITIAL;
        bytes[2..4].copy_from_slice(&0x8081u16.to_le_bytes());
        assert_eq!(canonical(&bytes)[2..4], [0x01, 0], "masked");
        bytes[0] = 0x7E;
        assert_eq!(canonical(&bytes)[2..4], [0x81, 0x80], "unmasked");
    }
}
