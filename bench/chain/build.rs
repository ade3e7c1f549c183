//! Links the image: see `sluice_build`.

fn main() {
    sluice_build::image();
}
