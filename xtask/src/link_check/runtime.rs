//! A program without std. It is linked to show that it can be, and never run: each function only has to exist.
#![no_std]

use core::ffi::{c_int, c_void};
use core::panic::PanicInfo;

#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    loop {}
}

#[unsafe(no_mangle)]
extern "C" fn _start() -> ! {
    loop {}
}

// `core` is compiled to unwind, and names these two.

#[unsafe(no_mangle)]
extern "C" fn rust_eh_personality() -> ! {
    loop {}
}

#[unsafe(no_mangle)]
extern "C" fn _Unwind_Resume() -> ! {
    loop {}
}

// The compiler itself emits calls of these five.

#[unsafe(no_mangle)]
extern "C" fn memcpy(_to: *mut c_void, _from: *const c_void, _len_bytes: usize) -> *mut c_void {
    loop {}
}

#[unsafe(no_mangle)]
extern "C" fn memmove(_to: *mut c_void, _from: *const c_void, _len_bytes: usize) -> *mut c_void {
    loop {}
}

#[unsafe(no_mangle)]
extern "C" fn memset(_to: *mut c_void, _byte: c_int, _len_bytes: usize) -> *mut c_void {
    loop {}
}

#[unsafe(no_mangle)]
extern "C" fn memcmp(_a: *const c_void, _b: *const c_void, _len_bytes: usize) -> c_int {
    loop {}
}

#[unsafe(no_mangle)]
extern "C" fn bcmp(_a: *const c_void, _b: *const c_void, _len_bytes: usize) -> c_int {
    loop {}
}
