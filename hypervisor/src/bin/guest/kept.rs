//! What this CPU itself loses between a load and a save, found by trial before anything else can run in between.
//!
//! What is lost that way is not used in rounds: it would be taken for a hypervisor's fault.
#![expect(unsafe_code, reason = "UNSAFETY: loads and saves x87 and tiles")]

use selfsame_x86::{fxrstor, fxsave, xrstor, xsave};
use selfsame_xstate::{Component, ComponentSet, Format, Geometry, Header, Layout, MXCSR_INITIAL};

use crate::area::{Area, put_header, put_mxcsr};

/// What stays as it is loaded, though the manuals leave it open or a CPU gets it wrong.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Kept {
    /// Opcode and pointers of x87 while no exception is pending. AMD CPUs lose them unless they say otherwise (APM vol.
    /// 3, app. E, Fn8000_0008:EBX, `xsaveerptr`), and so does QEMU's interpreter.
    pub(crate) x87_pointers: bool,
    /// Tile data. Bochs 3.1 saves half of the rows, and says that tiles are in their initial configuration just when
    /// they are not, so that XSAVES leaves them out.
    pub(crate) tile_data: bool,
}

impl Kept {
    /// Tries it. XCR0 has what `geometry` says.
    pub(crate) fn tried(geometry: &Geometry) -> Self {
        Self { x87_pointers: keeps_x87_pointers(), tile_data: keeps_tile_data(geometry) }
    }
}

fn keeps_x87_pointers() -> bool {
    /// Opcode, instruction pointer, operand pointer (SDM vol. 1, 10.5.1).
    const POINTERS: core::ops::Range<usize> = 6..24;
    let (mut image, mut saved) = (Area::new(), Area::new());
    // SAFETY: the area is aligned and large enough.
    unsafe { fxsave(image.bytes_mut().as_mut_ptr()) };
    if let Some(pointers) = image.bytes_mut().get_mut(POINTERS) {
        pointers.copy_from_slice(&[0x55, 5, 1, 2, 3, 4, 5, 0, 0, 0, 6, 7, 8, 9, 10, 0, 0, 0]);
    }
    // SAFETY: but for the pointers it is what was saved right before.
    unsafe { fxrstor(image.bytes().as_ptr()) };
    // SAFETY: as above.
    unsafe { fxsave(saved.bytes_mut().as_mut_ptr()) };
    image.bytes().get(POINTERS) == saved.bytes().get(POINTERS)
}

/// Whether both halves of every tile come back, and are said to be in use.
fn keeps_tile_data(geometry: &Geometry) -> bool {
    let tiles = ComponentSet::AMX;
    if !tiles.is_subset_of(geometry.user()) {
        return false;
    }
    let Ok(layout) = Layout::new(Format::Standard, tiles, geometry) else { return false };
    let (Some(config), Some(data)) =
        (layout.range_bytes(Component::XTILECFG), layout.range_bytes(Component::XTILEDATA))
    else {
        return false;
    };
    if !Area::has_room_for(&layout) {
        return false;
    }
    let (mut image, mut saved) = (Area::new(), Area::new());
    put_header(&mut image, &Header { xstate_bv: tiles.bits(), ..Header::default() });
    put_mxcsr(&mut image, MXCSR_INITIAL);
    if let Some(palette) = image.bytes_mut().get_mut(config.start as usize) {
        *palette = 1;
    }
    let data = data.start as usize..data.end as usize;
    image.bytes_mut().get_mut(data.clone()).unwrap_or_default().fill(0x5a);
    // SAFETY: CR4.OSXSAVE is set, since XCR0 has tiles; the areas are aligned and have room; the image is lawful, and
    // compiled code uses no tiles.
    unsafe { xrstor(image.bytes().as_ptr(), tiles.bits()) };
    // SAFETY: as above.
    unsafe { xsave(saved.bytes_mut().as_mut_ptr(), tiles.bits()) };
    // The next load finds the tiles as after RESET.
    put_header(&mut image, &Header::default());
    // SAFETY: as above.
    unsafe { xrstor(image.bytes().as_ptr(), tiles.bits()) };
    saved.header().present().contains(Component::XTILEDATA)
        && image.bytes().get(data.clone()) == saved.bytes().get(data)
}
