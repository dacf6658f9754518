//! Xen's exchange form of a featureset: nineteen 32-bit words in hexadecimal.

use core::fmt;

use crate::featureset::Featureset;
use crate::place::{Register::*, Word};

/// The words of Xen's public header, in its order: 1d 1c e1d e1c Da1 7b0 7c0 e7d e8b 7d0 7a1 e21a 7b1 7d2 7c1 7d1 m10Al
/// m10Ah e21c. Positions are ABI: words are only ever added at the end, by Xen.
pub const XEN_WORDS: [Word; 19] = [
    Word::leaf(0x1, Edx),
    Word::leaf(0x1, Ecx),
    Word::leaf(0x8000_0001, Edx),
    Word::leaf(0x8000_0001, Ecx),
    Word::subleaf(0xd, 1, Eax),
    Word::subleaf(0x7, 0, Ebx),
    Word::subleaf(0x7, 0, Ecx),
    Word::leaf(0x8000_0007, Edx),
    Word::leaf(0x8000_0008, Ebx),
    Word::subleaf(0x7, 0, Edx),
    Word::subleaf(0x7, 1, Eax),
    Word::leaf(0x8000_0021, Eax),
    Word::subleaf(0x7, 1, Ebx),
    Word::subleaf(0x7, 2, Edx),
    Word::subleaf(0x7, 1, Ecx),
    Word::subleaf(0x7, 1, Edx),
    Word::msr_low(0x10a),
    Word::msr_high(0x10a),
    Word::leaf(0x8000_0021, Ecx),
];

/// A featureset that prints as `xen-cpuid` prints it: words in hexadecimal, joined by colons.
#[derive(Clone, Copy, Debug)]
pub struct XenWords<'a>(&'a Featureset);

impl<'a> XenWords<'a> {
    pub(crate) const fn new(set: &'a Featureset) -> Self {
        Self(set)
    }
}

impl fmt::Display for XenWords<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, &word) in XEN_WORDS.iter().enumerate() {
            if i > 0 {
                f.write_str(":")?;
            }
            write!(f, "{:08x}", self.0.word(word))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;

    #[test]
    fn words_print_in_the_order_of_xens_header() {
        let mut set = Featureset::EMPTY;
        set.insert("00000001.edx[0]".parse().unwrap());
        set.insert("80000021.ecx[2]".parse().unwrap());
        set.insert("msr:0000010a[62]".parse().unwrap());
        let text = set.to_xen().to_string();
        assert!(text.starts_with("00000001:00000000:"));
        assert!(text.ends_with(":40000000:00000004"));
        assert_eq!(text.split(':').count(), 19);
    }
}
