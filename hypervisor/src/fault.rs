//! Faults that a program expects, as values.
//!
//! An instruction that may fault is written with [`recoverable!`]: its place and the place behind it go into a table.
//! When it faults, the trap handler (`traps.s`) finds it there, writes the fault into R8, and goes on behind it. There
//! is no state to be set up or cleared, and a fault anywhere else is never taken for one of these.

use core::fmt;

/// A fault of an instruction.
///
/// Prints the manuals' name and, where the vector has one, the error code: `#GP(0)`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Fault {
    /// The vector, 0 to 31.
    pub vector: u8,
    /// The error code; 0 where the vector has none.
    pub error: u32,
}

/// What R8 holds where nothing faulted.
pub(crate) const NO_FAULT: u64 = u64::MAX;

/// The vectors that recovery is for: exceptions that an instruction causes and that come before it is done. An NMI (2),
/// a machine check (18), a debug trap (1) or a double fault (8) at the same place is none of its doing (SDM vol. 3A,
/// table 6-1).
pub(crate) const RECOVERABLE: u32 = vectors(&[0, 5, 6, 7, 10, 11, 12, 13, 14, 16, 17, 19, 21]);

/// The vectors with an error code (SDM vol. 3A, table 6-1; APM vol. 2, 8.2: 29 and 30 are AMD's).
pub(crate) const WITH_ERROR_CODE: u32 = vectors(&[8, 10, 11, 12, 13, 14, 17, 21, 29, 30]);

/// A set of vectors below 32, one bit each.
const fn vectors(mut vectors: &[u8]) -> u32 {
    let mut bits = 0;
    while let [vector, rest @ ..] = vectors {
        bits |= 1 << *vector;
        vectors = rest;
    }
    bits
}

impl Fault {
    /// Reads what the trap handler left in R8: the vector in the high half, the error code in the low one.
    pub(crate) fn check(r8: u64) -> Result<(), Self> {
        if r8 == NO_FAULT { Ok(()) } else { Err(Self::of((r8 >> 32) & 0xff, r8)) }
    }

    /// A fault of a vector and an error code as the CPU pushes it.
    #[expect(clippy::cast_possible_truncation, reason = "there are 256 vectors; error codes have 32 bits")]
    pub(crate) fn of(vector: u64, error: u64) -> Self {
        Self { vector: vector as u8, error: error as u32 }
    }

    /// Whether the vector has an error code.
    pub const fn has_error_code(self) -> bool {
        self.vector < 32 && WITH_ERROR_CODE >> self.vector & 1 == 1
    }

    const fn name(self) -> Option<&'static str> {
        Some(match self.vector {
            0 => "#DE",
            1 => "#DB",
            2 => "NMI",
            3 => "#BP",
            4 => "#OF",
            5 => "#BR",
            6 => "#UD",
            7 => "#NM",
            8 => "#DF",
            10 => "#TS",
            11 => "#NP",
            12 => "#SS",
            13 => "#GP",
            14 => "#PF",
            16 => "#MF",
            17 => "#AC",
            18 => "#MC",
            19 => "#XM",
            20 => "#VE",
            21 => "#CP",
            28 => "#HV",
            29 => "#VC",
            30 => "#SX",
            _ => return None,
        })
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name)?,
            None => write!(f, "vector {}", self.vector)?,
        }
        if self.has_error_code() { write!(f, "({:x})", self.error) } else { Ok(()) }
    }
}

/// Executes one instruction that may fault, as `asm!` does; gives `Result<(), Fault>`.
///
/// R8 is taken. The table's entries are distances, so that they need no relocation.
macro_rules! recoverable {
    ($instruction:expr, $($operands:tt)*) => {{
        let r8: u64;
        core::arch::asm!(
            concat!("2: ", $instruction),
            "3:",
            ".pushsection .recoverable, \"a\", @progbits",
            ".long 2b - ., 3b - .",
            ".popsection",
            inlateout("r8") $crate::fault::NO_FAULT => r8,
            $($operands)*
        );
        $crate::fault::Fault::check(r8)
    }};
}
pub(crate) use recoverable;

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;

    #[test]
    fn faults_read_as_the_manuals_name_them() {
        assert_eq!(Fault { vector: 13, error: 0x18 }.to_string(), "#GP(18)");
        assert_eq!(Fault { vector: 6, error: 0 }.to_string(), "#UD");
        assert_eq!(Fault { vector: 200, error: 0 }.to_string(), "vector 200");
    }

    #[test]
    fn what_the_handler_leaves_is_read_back() {
        assert_eq!(Fault::check(NO_FAULT), Ok(()));
        assert_eq!(Fault::check(13 << 32), Err(Fault { vector: 13, error: 0 }));
        assert_eq!(Fault::check(14 << 32 | 0x8000_0005), Err(Fault { vector: 14, error: 0x8000_0005 }));
    }

    #[test]
    fn interrupts_and_aborts_are_never_recovered_from() {
        for vector in [1, 2, 3, 4, 8, 18] {
            assert_eq!(RECOVERABLE >> vector & 1, 0, "{vector}");
        }
    }
}
