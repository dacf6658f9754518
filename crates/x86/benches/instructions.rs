//! What saving and loading extended state costs on this CPU, with no, one and all components in use.
//!
//! XSAVES and XRSTORS need ring 0 and are not measured here.
#![cfg_attr(target_arch = "x86_64", expect(unsafe_code, reason = "UNSAFETY: loads the states to be saved"))]

#[cfg(target_arch = "x86_64")]
#[path = "../../xstate/tests/images/mod.rs"]
mod images;

#[cfg(target_arch = "x86_64")]
mod measured {
    use std::arch::asm;
    use std::time::{Duration, Instant};

    use criterion::Criterion;
    use selfsame_x86::Oracle;
    use selfsame_xstate::{Component, ComponentSet, Format, Layout};

    use crate::images::{Style, Words, random_image};

    #[derive(Clone)]
    #[repr(C, align(64))]
    struct Area([u8; selfsame_x86::AREA_BYTES]);

    /// Puts the caller's registers aside, loads a state, repeats an instruction on an area, and puts the registers back.
    macro_rules! repeat {
        ($instruction:literal, $oracle:expr, $state:expr, $area:expr, $times:expr) => {{
            let (state, area): (&Area, &mut Area) = ($state, $area);
            let mut own = Area([0; selfsame_x86::AREA_BYTES]);
            // PKRU stays as it is: it is the key to the areas.
            let mask = $oracle.loadable().without(Component::PKRU).bits();
            let [low, high] = [mask, mask >> 32].map(|half| u32::try_from(half & 0xFFFF_FFFF).unwrap_or(0));
            let start = Instant::now();
            // SAFETY: an oracle exists only where XSAVE works and XCR0 fits into an area; the state and what the
            // instruction loads have been read strictly; the caller's registers are back before anything else runs.
            unsafe {
                asm!(
                    "xsave64 [{own}]",
                    "xrstor64 [{state}]",
                    "2:",
                    concat!($instruction, " [{area}]"),
                    "dec {times}",
                    "jnz 2b",
                    "xrstor64 [{own}]",
                    own = in(reg) own.0.as_mut_ptr(),
                    state = in(reg) state.0.as_ptr(),
                    area = in(reg) area.0.as_mut_ptr(),
                    times = inout(reg) $times => _,
                    in("eax") low,
                    in("edx") high,
                    options(nostack),
                );
            }
            start.elapsed()
        }};
    }

    type Measure = fn(&Oracle, &Area, &mut Area, u64) -> Duration;

    const SAVES: [(&str, Measure); 3] = [
        ("fxsave", |oracle, state, area, times| repeat!("fxsave64", oracle, state, area, times)),
        ("xsave", |oracle, state, area, times| repeat!("xsave64", oracle, state, area, times)),
        ("xsavec", |oracle, state, area, times| repeat!("xsavec64", oracle, state, area, times)),
    ];

    fn fxrstor(oracle: &Oracle, state: &Area, area: &mut Area, times: u64) -> Duration {
        repeat!("fxrstor64", oracle, state, area, times)
    }

    fn xrstor(oracle: &Oracle, state: &Area, area: &mut Area, times: u64) -> Duration {
        repeat!("xrstor64", oracle, state, area, times)
    }

    /// A state in which exactly `set` is in use, in a format.
    fn state(oracle: &Oracle, format: Format, set: ComponentSet) -> Option<Area> {
        let reader = oracle.reader();
        let layout = Layout::new(format, oracle.loadable(), oracle.geometry()).ok()?;
        let mut area = Area([0; selfsame_x86::AREA_BYTES]);
        (0..10_000).find_map(|seed| {
            let bytes = random_image(oracle.geometry(), Format::Standard, set, Style::Clean, &mut Words::new(seed))?;
            let image = reader.read(&bytes).ok().filter(|image| image.in_use() == set)?;
            image.write(&layout, &mut area.0).ok()
        })?;
        Some(area)
    }

    pub(crate) fn instructions(c: &mut Criterion) {
        let Some(oracle) = Oracle::of_this_cpu() else {
            eprintln!("SKIPPED: this machine has no XSAVE in user mode");
            return;
        };
        let has_xsavec = oracle.geometry().has_xsavec();
        let all = oracle.loadable().without(Component::PKRU);
        for (name, set) in [("none", ComponentSet::EMPTY), ("sse", Component::SSE.into()), ("all", all)] {
            let mut group = c.benchmark_group(format!("{name} in use of {}", oracle.xcr0()));
            let Some(standard) = state(&oracle, Format::Standard, set) else { continue };
            for (instruction, measure) in SAVES {
                if instruction != "xsavec" || has_xsavec {
                    let mut area = Area([0; selfsame_x86::AREA_BYTES]);
                    group.bench_function(instruction, |b| {
                        b.iter_custom(|times| measure(&oracle, &standard, &mut area, times));
                    });
                }
            }
            let compacted = state(&oracle, Format::Compacted, set).filter(|_| has_xsavec);
            let loads: [(&str, Measure, Option<Area>); 3] = [
                ("fxrstor", fxrstor, Some(standard.clone())),
                ("xrstor, standard", xrstor, Some(standard.clone())),
                ("xrstor, compacted", xrstor, compacted),
            ];
            for (instruction, measure, area) in loads {
                let Some(mut area) = area else { continue };
                group.bench_function(instruction, |b| {
                    b.iter_custom(|times| measure(&oracle, &standard, &mut area, times));
                });
            }
            group.finish();
        }
    }
}

#[cfg(target_arch = "x86_64")]
criterion::criterion_group!(benches, measured::instructions);
#[cfg(target_arch = "x86_64")]
criterion::criterion_main!(benches);

#[cfg(not(target_arch = "x86_64"))]
fn main() {}
