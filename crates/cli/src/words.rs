//! Names that people type: features, and the words of `cpuid=`.

use selfsame_cpuid::{FEATURES, Feature, Place, Relation, TrimReason, Trims, VALUES, feature, feature_at};

use crate::problem::{Problem, printable};

/// How many names are suggested at most.
const SUGGESTIONS: usize = 3;

/// Reads the words of all `cpuid=` arguments together.
pub(crate) fn trims(arguments: &[String]) -> Result<Trims, Problem> {
    let mut words = Vec::new();
    for argument in arguments {
        let list = argument.strip_prefix("cpuid=").unwrap_or(argument);
        for word in list.split(',').map(str::trim).filter(|word| !word.is_empty()) {
            let canonical = canonical(word)?;
            if let Err(error) = canonical.parse::<Trims>() {
                return Err(unknown(word, error.reason));
            }
            words.push(canonical);
        }
    }
    // Every word was understood alone.
    words.join(",").parse().map_err(|_| unknown(&words.join(","), TrimReason::UnknownFeature))
}

/// A word with the canonical name of its feature, whoever's spelling it has.
fn canonical(word: &str) -> Result<String, Problem> {
    let (prefix, item) = match word.split_once(':') {
        Some((prefix @ ("pv" | "hvm" | "kvm"), item)) => (format!("{prefix}:"), item),
        _ => (String::new(), word),
    };
    if item.contains('=') {
        return Ok(word.to_owned());
    }
    if let Some(row) = find(item)? {
        return Ok(format!("{prefix}{}", spelling(row, item)));
    }
    let (no, name) = match item.get(..3) {
        Some(no) if no.eq_ignore_ascii_case("no-") => ("no-", item.get(3..).unwrap_or_default()),
        _ => ("", item),
    };
    Ok(match find(name)? {
        Some(row) => format!("{prefix}{no}{}", spelling(row, name)),
        None => word.to_owned(),
    })
}

/// A name that the library understands: what it understands already stays.
fn spelling<'n>(row: &Feature, name: &'n str) -> std::borrow::Cow<'n, str> {
    if feature(name).is_some() || name.parse::<Place>().is_ok() { name.into() } else { row.name.to_owned().into() }
}

fn unknown(word: &str, reason: TrimReason) -> Problem {
    let name = word.rsplit_once(':').map_or(word, |(_, name)| name);
    let name = name.strip_prefix("no-").unwrap_or(name);
    let suggestions = if reason == TrimReason::UnknownFeature { suggestions(name, false) } else { Vec::new() };
    Problem::Word { word: printable(word), reason, suggestions }
}

/// Finds a feature by its place or by any of its names, here or in Linux or Xen, in any case.
///
/// # Errors
///
/// A spelling of other tools that means several features.
pub(crate) fn find(name: &str) -> Result<Option<&'static Feature>, Problem> {
    if let Some(row) = feature(name).or_else(|| feature_at(name.parse::<Place>().ok()?)) {
        return Ok(Some(row));
    }
    let is_it = |other: &str| !other.is_empty() && other.eq_ignore_ascii_case(name);
    let is_own = |row: &&Feature| is_it(row.name) || row.aliases.iter().any(|alias| is_it(alias));
    let is_others = |row: &&Feature| is_it(row.linux) || is_it(row.xen);
    let mut rows: Vec<&'static Feature> = FEATURES.iter().filter(is_own).collect();
    if rows.is_empty() {
        rows = FEATURES.iter().filter(is_others).collect();
        // Bits that only repeat others have the same names as those.
        if rows.iter().any(|row| row.relation != Relation::Derived) {
            rows.retain(|row| row.relation != Relation::Derived);
        }
    }
    match rows[..] {
        [] => Ok(None),
        [row] => Ok(Some(row)),
        _ => Err(Problem::Ambiguous { name: printable(name), candidates: rows.iter().map(|row| row.name).collect() }),
    }
}

/// The problem that nothing is called `name`.
pub(crate) fn no_such_feature(name: &str) -> Problem {
    if let Ok(place) = name.parse::<Place>() {
        return Problem::UnnamedPlace { place: place.to_string() };
    }
    Problem::UnknownFeature { name: printable(name), suggestions: suggestions(name, true) }
}

/// What may have been meant, the likeliest first; canonical names only.
fn suggestions(name: &str, with_values: bool) -> Vec<&'static str> {
    let typed = bare(name);
    let mut near: Vec<(usize, &'static str)> = Vec::new();
    let mut consider = |spelling: &str, canonical: &'static str| {
        let spelling = bare(spelling);
        let distance = strsim::osa_distance(&typed, &spelling);
        // A short name of the manual may be the end of the one here: eq of perfmon-eq.
        let is_end =
            canonical.strip_suffix(&*name.to_ascii_lowercase()).is_some_and(|start| start.ends_with(['-', '_', '.']));
        let is_near = distance <= (typed.len() / 4).max(1) && distance < typed.len();
        let is_part = typed.len() >= 3 && spelling.starts_with(&typed);
        if is_end {
            near.push((0, canonical));
        } else if is_near || is_part {
            near.push((if is_part { distance.min(2) } else { distance }, canonical));
        }
    };
    for row in &FEATURES {
        let aliases = row.aliases.iter().chain([&row.linux, &row.xen]).filter(|alias| !alias.is_empty());
        consider(row.name, row.name);
        aliases.for_each(|alias| consider(alias, row.name));
    }
    if with_values {
        VALUES.iter().for_each(|row| consider(row.name, row.name));
    }
    // The table's order keeps equals apart.
    near.sort_by_key(|(distance, _)| *distance);
    let mut names = Vec::new();
    for (_, name) in near {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names.truncate(SUGGESTIONS);
    names
}

/// A spelling without what people differ in.
fn bare(name: &str) -> String {
    name.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_of_other_tools_find_the_canonical_name() {
        assert_eq!(suggestions("AVX2", false).first(), Some(&"avx2"));
        assert_eq!(suggestions("avx52f", false).first(), Some(&"avx512f"));
        assert_eq!(suggestions("maxphyaddr", true).first(), Some(&"maxphysaddr"));
        assert!(suggestions("zzzzzzzz", true).is_empty());
    }

    #[test]
    fn the_word_that_was_not_understood_is_named() {
        let words = ["cpuid=no-avx2,hvm:no-pkuu".to_owned()];
        let message = trims(&words).unwrap_err().to_string();
        assert_eq!(message, "cpuid= word `hvm:no-pkuu`: no feature has this name; did you mean pku?");
        assert!(trims(&["no-avx2".to_owned(), "cpuid=pks".to_owned()]).is_ok());
    }
}
