//! The floor: header and frame copied to places that are known, and nothing checked. The ring is filled in afterwards.
#![allow(unsafe_code, reason = "the floor checks nothing")]

use crate::arena::{Arena, SIZE};
use crate::device::{Device, Ring};
use crate::imix::{self, IMIX};
use crate::layout::Layout;
use anyhow::{Context, Result, bail};
use core::arch::x86_64::{__m256i, _mm256_loadu_si256, _mm256_storeu_si256};
use core::hint::black_box;
use sluice_abi::net::{HDR_LEN, PLAIN_HDR};

const HDR: usize = HDR_LEN as usize;
/// Bytes of a vector register.
const VECTOR: usize = size_of::<__m256i>();
/// Bytes from which on a frame is long.
const LONG: usize = 1024;

/// From where to where: a frame, the buffer of a slot.
type Place = (*const u8, *mut u8);
type Burst = unsafe fn(&[Place]);

/// Copies, and a ring of each format.
pub struct Copy {
    rings: Vec<(Ring, Layout, u16)>,
    frames: Vec<*const u8>,
    buffers: Vec<*mut u8>,
    /// Bytes that a frame, and a buffer, has room for.
    room: u32,
    places: Vec<Place>,
    ring: usize,
    len: u16,
    burst: Burst,
}

impl Copy {
    /// Into the buffers of the driver in `arena`.
    pub fn new(arena: &Arena, rings: Vec<(Ring, Layout)>) -> Self {
        let (from, to) = (arena.packets.as_ptr(), arena.memory.as_ptr());
        Self {
            rings: rings.into_iter().map(|(ring, layout)| (ring, layout, 0)).collect(),
            frames: (0..SIZE).map(|index| from.wrapping_add(arena.frame_at(index) as usize).cast_const()).collect(),
            buffers: (0..SIZE).map(|slot| to.wrapping_add(arena.buffer_at(slot).0 as usize)).collect(),
            room: arena.buffer_len,
            places: Vec::new(),
            ring: 0,
            len: 0,
            burst: burst::<0>,
        }
    }

    /// The next burst's places.
    fn aim(&mut self, count: usize) {
        let next = usize::from(self.rings[self.ring].2);
        self.places.clear();
        self.places
            .extend((0..count).map(|index| (self.frames[index], self.buffers[(next + index) % usize::from(SIZE)])));
    }
}

/// The copies of frames of `len` bytes.
fn burst_of(len: u16) -> Result<Burst> {
    Ok(match (len, is_x86_feature_detected!("avx")) {
        (64, true) => burst_avx::<64>,
        (128, true) => burst_avx::<128>,
        (256, true) => burst_avx::<256>,
        (512, true) => burst_avx::<512>,
        (1024, true) => burst_avx::<1024>,
        (1518, true) => burst_avx::<1518>,
        (9000, true) => burst_avx::<9000>,
        (IMIX, true) => mix_avx,
        (IMIX, false) => mix,
        (64, false) => burst::<64>,
        (128, false) => burst::<128>,
        (256, false) => burst::<256>,
        (512, false) => burst::<512>,
        (1024, false) => burst::<1024>,
        (1518, false) => burst::<1518>,
        (9000, false) => burst::<9000>,
        _ => bail!("no copies of {len} bytes"),
    })
}

/// # Safety
/// Each pair is a frame of `LEN` bytes and a buffer with room for it and a header.
unsafe fn burst<const LEN: usize>(places: &[Place]) {
    for &(from, to) in places {
        // SAFETY: the caller's contract; they are not in the same memory.
        unsafe {
            to.cast::<[u8; HDR]>().write(PLAIN_HDR);
            to.add(HDR).copy_from_nonoverlapping(from, LEN);
        }
    }
}

/// # Safety
/// As [`burst`], and the processor has AVX.
#[target_feature(enable = "avx")]
unsafe fn burst_avx<const LEN: usize>(places: &[Place]) {
    for &(from, to) in places {
        // SAFETY: the caller's contract.
        unsafe {
            to.cast::<[u8; HDR]>().write(PLAIN_HDR);
            vectors::<LEN>(from, to.add(HDR));
        }
    }
}

/// # Safety
/// As [`burst`], with the mix's lengths for `LEN`.
unsafe fn mix(places: &[Place]) {
    for (index, place) in places.chunks(1).enumerate() {
        // SAFETY: as in burst.
        unsafe {
            match imix::len(IMIX, index as u64) {
                64 => burst::<64>(place),
                594 => burst::<594>(place),
                _ => burst::<1518>(place),
            }
        }
    }
}

/// # Safety
/// As [`mix`], and the processor has AVX.
#[target_feature(enable = "avx")]
unsafe fn mix_avx(places: &[Place]) {
    for (index, place) in places.chunks(1).enumerate() {
        // SAFETY: as in burst_avx.
        unsafe {
            match imix::len(IMIX, index as u64) {
                64 => burst_avx::<64>(place),
                594 => burst_avx::<594>(place),
                _ => burst_avx::<1518>(place),
            }
        }
    }
}

/// Whole registers, the last of them ending where the bytes end.
///
/// Of a long frame the compiler may not know the length: else it makes an instruction of its own for each register, and
/// from such an instruction some processors foresee the next frame's bytes, because here all frames are equally far
/// apart. They are not in a packet pool that is in use.
///
/// # Safety
/// `LEN` bytes, at least [`VECTOR`], are valid at both.
#[inline]
#[target_feature(enable = "avx")]
unsafe fn vectors<const LEN: usize>(from: *const u8, to: *mut u8) {
    let len = if LEN < LONG { LEN } else { black_box(LEN) };
    // SAFETY: each piece ends at `len` or before.
    unsafe {
        let mut at = 0;
        while at + 4 * VECTOR <= len {
            let part = |index| _mm256_loadu_si256(from.add(at + index * VECTOR).cast());
            let parts: [__m256i; 4] = [part(0), part(1), part(2), part(3)];
            for (index, part) in parts.into_iter().enumerate() {
                _mm256_storeu_si256(to.add(at + index * VECTOR).cast(), part);
            }
            at += 4 * VECTOR;
        }
        while at < len {
            let piece = at.min(len - VECTOR);
            _mm256_storeu_si256(to.add(piece).cast(), _mm256_loadu_si256(from.add(piece).cast()));
            at += VECTOR;
        }
    }
}

impl Device for Copy {
    fn prepare(&mut self, ring: Ring, count: u16, len: u16) -> Result<()> {
        self.ring = self.rings.iter().position(|(known, ..)| *known == ring).context("no such ring")?;
        let longest = (0..count).map(|index| imix::len(len, index.into())).max().unwrap_or(0);
        if u32::from(longest) + HDR_LEN > self.room {
            bail!("no room for {longest} bytes and a header");
        }
        (self.len, self.burst) = (len, burst_of(len)?);
        self.aim(count.into());
        Ok(())
    }

    #[inline(never)]
    fn enqueue(&mut self) -> usize {
        // SAFETY: frames and buffers are the arena's, and prepare() saw that each has room for a header and the longest
        // of the frames; AVX was looked for.
        unsafe { (self.burst)(&self.places) };
        self.places.len()
    }

    fn finish(&mut self) {
        let count = self.places.len();
        let (_, layout, next) = &mut self.rings[self.ring];
        let len = self.len;
        layout.use_all(*next, count as u16, |index| u32::from(imix::len(len, index.into())) + HDR_LEN);
        *next = next.wrapping_add(count as u16);
        self.aim(count);
    }
}
