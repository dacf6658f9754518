//! How a program names its main function.

/// Makes `fn(&'static Cpu) -> Outcome` the main function of a program: the boot CPU runs it, then the machine ends with
/// its [`Outcome`](crate::Outcome).
///
/// Built for a host, the program says what it is and fails.
#[macro_export]
macro_rules! program {
    ($run:path) => {
        #[cfg(bare)]
        const _: () = {
            #[expect(unsafe_code, reason = "UNSAFETY: the base calls this name, with this signature")]
            #[unsafe(no_mangle)]
            fn selfsame_program(cpu: &'static $crate::Cpu) -> $crate::Outcome {
                $run(cpu)
            }
        };

        #[cfg(not(bare))]
        fn main() -> std::process::ExitCode {
            const _: fn(&'static $crate::Cpu) -> $crate::Outcome = $run;
            $crate::host_main()
        }
    };
}

/// The main function of a program that was built for a host.
#[cfg(not(bare))]
#[doc(hidden)]
pub fn host_main() -> std::process::ExitCode {
    std::eprintln!("this program runs without an operating system; `cargo xtask` builds it for that and boots it");
    std::process::ExitCode::FAILURE
}
