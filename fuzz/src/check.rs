//! The check in the last line of captures and policies, which no fuzzer finds by chance.

use selfsame_cpuid::text::{Statements, TextError};

/// Puts the right check behind the lines of a text; `None` where they are not of the grammar.
pub(crate) fn with_check(text: &[u8]) -> Option<Vec<u8>> {
    let lines = text.split_inclusive(|&byte| byte == b'\n').take_while(|line| !line.starts_with(b"end "));
    let mut lines = lines.collect::<Vec<_>>().concat();
    let unchecked = [&lines, "end 00000000\n".as_bytes()].concat();
    match Statements::new(&unchecked).find_map(Result::err) {
        None => Some(unchecked),
        Some(TextError::Check { computed, .. }) => {
            lines.extend(format!("end {computed:08x}\n").into_bytes());
            Some(lines)
        }
        Some(_) => None,
    }
}
