//! Chains as text and as a picture: a line for each direction, with the packets that each VM got.

use super::{Counters, Hop, Path, named};
use anyhow::{Result, anyhow};
use plotters::prelude::*;
use std::collections::BTreeMap;

/// The VMs of a path, by place: one each, unless another claims its place.
type Vms<'c> = BTreeMap<usize, Vec<(&'c str, &'c Hop)>>;

/// Width and height of a VM in the picture, in pixels, and the distances to the next.
const VM: (i32, i32) = (120, 34);
const STEP: (i32, i32) = (230, 110);
const MARGIN: (i32, i32) = (20, 44);

impl Counters {
    fn paths(&self) -> BTreeMap<&Path, Vms<'_>> {
        let mut paths: BTreeMap<&Path, Vms<'_>> = BTreeMap::new();
        for ((path, place, vm), hop) in &self.hops {
            paths.entry(path).or_default().entry(*place).or_default().push((vm, hop));
        }
        paths
    }

    /// Returns each path in one line, its VMs in order, each behind the packets that it got. A VM that said nothing is
    /// a question mark.
    pub(super) fn drawing(&self, live: bool) -> String {
        let line = |(path, vms): (&Path, Vms<'_>)| {
            let places = 1..=length(&vms);
            let vms = places.map(|place| match vms.get(&place) {
                Some(vms) => {
                    let packets = vms.iter().map(|(_, hop)| self.packets(hop, live));
                    format!("─ {} ─► {}", packets.collect::<Vec<_>>().join(" / "), names(vms))
                }
                None => "─►  ?".into(),
            });
            format!("{} {}", title(path), vms.collect::<Vec<_>>().join(" "))
        };
        self.paths().into_iter().map(line).collect::<Vec<_>>().join("\n")
    }

    fn packets(&self, hop: &Hop, live: bool) -> String {
        match self.rate(hop, live) {
            Some(rate) => format!("{} ({rate:.0}/s)", hop.packets),
            None => hop.packets.to_string(),
        }
    }

    /// Draws the chains, with rates over all the time in which packets came, as an SVG file.
    ///
    /// # Errors
    /// The file can't be written, or there is no chain.
    pub fn draw(&self, path: &std::path::Path) -> Result<()> {
        anyhow::ensure!(!self.hops.is_empty(), "{}: no VM of a chain printed counters", path.display());
        self.draw_all(path).map_err(|error| anyhow!("{}: {error}", path.display()))
    }

    fn draw_all(&self, path: &std::path::Path) -> Result<(), Box<dyn std::error::Error>> {
        let paths = self.paths();
        let longest = paths.values().map(length).max().unwrap_or(1) as i32;
        let size = (2 * MARGIN.0 + longest * STEP.0, MARGIN.1 + paths.len() as i32 * STEP.1);
        let area = SVGBackend::new(path, (size.0 as u32, size.1 as u32)).into_drawing_area();
        area.fill(&WHITE)?;
        let write = |text: String, at: (i32, i32), colour: RGBColor| {
            area.draw(&Text::new(text, at, ("sans-serif", 13).into_font().color(&colour)))
        };
        for (row, (path, vms)) in (0..).zip(paths) {
            let top = MARGIN.1 + row * STEP.1;
            write(title(path), (MARGIN.0, top - 26), BLACK)?;
            for place in 1..=length(&vms) {
                let left = MARGIN.0 + (place as i32 - 1) * STEP.0 + (STEP.0 - VM.0);
                let (middle, hop) = (top + VM.1 / 2, vms.get(&place));
                let arrow = [(left - STEP.0 + VM.0, middle), (left, middle)];
                area.draw(&PathElement::new(arrow, BLACK.stroke_width(1)))?;
                area.draw(&Polygon::new([(left, middle), (left - 9, middle - 4), (left - 9, middle + 4)], BLACK))?;
                area.draw(&Rectangle::new([(left, top), (left + VM.0, top + VM.1)], BLUE.stroke_width(1)))?;
                write(hop.map_or("?".into(), |vms| names(vms)), (left + 8, top + 10), BLACK)?;
                let Some((_, hop)) = hop.and_then(|vms| vms.first()) else { continue };
                write(self.packets(hop, false), (left - STEP.0 + VM.0 + 4, middle - 16), BLACK)?;
                let dropped = named(hop.dropped.iter().map(|(cause, count)| (cause.as_str(), *count)));
                if !hop.dropped.is_empty() {
                    write(format!("dropped: {dropped}"), (left, top + VM.1 + 6), RED)?;
                }
                if hop.bypassed > 0 {
                    write(format!("bypassed: {}", hop.bypassed), (left, top + VM.1 + 22), RED)?;
                }
            }
        }
        area.present()?;
        Ok(())
    }
}

fn title(path: &Path) -> String {
    format!("{} version {}, {}", path.chain, path.version, path.direction)
}

fn names(vms: &[(&str, &Hop)]) -> String {
    vms.iter().map(|(vm, _)| *vm).collect::<Vec<_>>().join(" / ")
}

/// Returns the number of VMs of a path.
fn length(vms: &Vms<'_>) -> usize {
    // The number is a VM's word: no picture is wider than the longest chain of a file.
    vms.values().flatten().map(|(_, hop)| hop.of).max().unwrap_or(0).min(64)
}

#[cfg(test)]
mod tests {
    use super::super::tests::read;

    const LINES: [(&str, f64); 3] = [
        ("[in] chain web version 0, forward, 1 of 3: 90 packets, 9000 bytes, 0 bypassed, 0 dropped", 1.0),
        ("[out] chain web version 0, forward, 3 of 3: 70 packets, 7000 bytes, 0 bypassed, 20 dropped: closed 20", 1.0),
        ("[out] chain web version 0, return, 1 of 3: 7 packets, 700 bytes, 0 bypassed, 0 dropped", 1.0),
    ];

    #[test]
    fn a_path_is_a_line_of_its_vms_in_order() {
        let text = read(&LINES).drawing(false);
        let expected =
            "web version 0, forward ─ 90 ─► in ─►  ? ─ 70 ─► out\nweb version 0, return ─ 7 ─► out ─►  ? ─►  ?";
        assert_eq!(text, expected);
    }

    #[test]
    fn a_picture_has_each_vm_and_what_it_dropped() {
        let folder = std::env::temp_dir().join(format!("sluice-draw-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        let path = folder.join("chain.svg");
        read(&LINES).draw(&path).expect("a picture");
        let text = std::fs::read_to_string(&path).expect("a file");
        std::fs::remove_dir_all(&folder).expect("the same folder");
        assert_eq!(text.matches("<rect").count(), 1 + 6, "a background, and a box for each VM: {text}");
        for words in ["web version 0, return", "in\n", "out\n", "70\n", "dropped: closed 20", "?"] {
            assert!(text.contains(words), "{words:?}: {text}");
        }
        assert!(read(&[]).draw(&path).is_err());
    }
}
