//! The x87 component: its 160 bytes as a CPU would write them.

/// Size of the component, the bytes of MXCSR among them (SDM vol. 1, 13.4.1).
pub(crate) const X87_BYTES: usize = 160;
/// FCW in the initial configuration, in which all else is zero (SDM vol. 1, 13.6).
pub(crate) const FCW_INITIAL: u16 = 0x37F;
/// Bit 6 of the control word reads as one; 7 and 13 to 15 read as zero (SDM vol. 1, 8.1.5).
const FCW_FIXED: u64 = 1 << 6;
const FCW_USED: u64 = 0x1F3F;
/// The exceptions in the status word and their masks in the control word lie at the same bits (SDM vol. 1, 8.1.3, 8.1.5).
const EXCEPTIONS: u64 = 0x3F;
/// ES and B: an unmasked exception is pending (SDM vol. 1, 8.1.3.3).
const PENDING: u64 = 0x8080;
/// An opcode has eleven bits (SDM vol. 1, 8.1.9).
const FOP_USED: u64 = 0x7FF;
/// The abridged tags are one byte; the other is reserved (SDM vol. 1, 10.5.1.1).
const FTW_USED: u64 = 0xFF;
/// A register has 80 of its 128 bits.
const REGISTER_USED: u128 = (1 << 80) - 1;

/// Writes the component as a CPU writes it that has loaded it: reserved bits have their fixed values, and ES and B follow from
/// the exceptions. The bytes of MXCSR become zero.
///
/// The pointers to instruction and operand stay: whether a CPU keeps them depends on its vendor and on the exceptions.
#[inline]
pub(crate) fn write(x87: &[u8; X87_BYTES], out: &mut [u8; X87_BYTES]) {
    let (from, _) = x87.as_chunks();
    let (to, _) = out.as_chunks_mut();
    for (from, to) in from.iter().zip(&mut *to) {
        *to = (u128::from_le_bytes(*from) & REGISTER_USED).to_le_bytes();
    }
    // The first two are no registers: control words and the pointers, of which the second shares its slot with MXCSR.
    if let ([from, pointer, ..], [to, operand, ..]) = (from, to) {
        let (start, instruction) = split(u128::from_le_bytes(*from));
        *to = join(canonical_start(start), instruction).to_le_bytes();
        let (pointer, _) = split(u128::from_le_bytes(*pointer));
        *operand = u128::from(pointer).to_le_bytes();
    }
}

/// Tells whether the component is in its initial configuration.
#[inline]
pub(crate) fn is_initial(x87: &[u8; X87_BYTES]) -> bool {
    let ([start, pointer, registers @ ..], _) = x87.as_chunks() else { return false };
    let (start, instruction) = split(u128::from_le_bytes(*start));
    let (pointer, _) = split(u128::from_le_bytes(*pointer));
    canonical_start(start) == u64::from(FCW_INITIAL)
        && instruction | pointer == 0
        && registers.iter().fold(0, |all, register| all | u128::from_le_bytes(*register) & REGISTER_USED) == 0
}

/// Returns the first eight bytes, FCW, FSW, FTW and FOP, as a CPU writes them.
#[inline]
fn canonical_start(start: u64) -> u64 {
    let field = |index: u32| start >> (16 * index) & 0xFFFF;
    let control = field(0) & FCW_USED | FCW_FIXED;
    let status = field(1) & !PENDING;
    let is_pending = status & !control & EXCEPTIONS != 0;
    let status = if is_pending { status | PENDING } else { status };
    control | status << 16 | (field(2) & FTW_USED) << 32 | (field(3) & FOP_USED) << 48
}

/// The low and the high half.
#[expect(clippy::cast_possible_truncation, reason = "the halves are meant")]
const fn split(slot: u128) -> (u64, u64) {
    (slot as u64, (slot >> 64) as u64)
}

const fn join(low: u64, high: u64) -> u128 {
    low as u128 | (high as u128) << 64
}

#[cfg(test)]
mod tests {
    use super::*;

    const INITIAL: [u8; X87_BYTES] = {
        let mut bytes = [0; X87_BYTES];
        [bytes[0], bytes[1]] = FCW_INITIAL.to_le_bytes();
        bytes
    };

    fn canonical(bytes: &[u8; X87_BYTES]) -> [u8; X87_BYTES] {
        let mut out = [0xA5; X87_BYTES];
        write(bytes, &mut out);
        out
    }

    #[test]
    fn the_initial_configuration_is_canonical() {
        assert_eq!(canonical(&INITIAL), INITIAL);
        assert!(is_initial(&INITIAL) && !is_initial(&[0; X87_BYTES]));
    }

    #[test]
    fn every_used_bit_makes_a_difference_and_no_other_does() {
        for bit in 0..X87_BYTES * 8 {
            let mut bytes = INITIAL;
            bytes[bit / 8] ^= 1 << (bit % 8);
            let changed = canonical(&bytes);
            assert_eq!(is_initial(&bytes), changed == INITIAL, "bit {bit}");
            let is_reserved = match bit {
                // FCW bits 6, 7, 13 to 15; FSW bits 7 and 15; the tags' second byte; FOP bits 11 to 15; MXCSR and its mask.
                6 | 7 | 13..16 | 23 | 31 | 40..48 | 59..64 | 192..256 => true,
                256.. => bit % 128 >= 80,
                _ => false,
            };
            assert_eq!(changed == INITIAL, is_reserved, "bit {bit}");
        }
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
        let mut bytes = INITIAL;
        bytes[2..4].copy_from_slice(&0x8081u16.to_le_bytes());
        assert_eq!(canonical(&bytes)[2..4], [0x01, 0], "masked");
        bytes[0] = 0x7E;
        assert_eq!(canonical(&bytes)[2..4], [0x81, 0x80], "unmasked");
    }
}
