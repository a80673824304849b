//! Writes `docs/world-reference.md` anew from the table of world files.

fn main() -> std::io::Result<()> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/world-reference.md");
    std::fs::write(path, fleet_cloud::world_file::reference_markdown())
}
