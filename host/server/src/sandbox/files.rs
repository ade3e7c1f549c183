//! The files that the server is left, by landlock. See: Linux, Documentation/userspace-api/landlock.rst.

use crate::policy::Policy;
use crate::server::ServerError;
use crate::tap::TUN;
use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, LandlockStatus, PathBeneath, PathFd, RestrictionStatus, Ruleset,
    RulesetAttr, RulesetCreatedAttr, RulesetError, RulesetStatus, Scope, make_bitflags,
};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The version of landlock whose rights are taken away, as far as the kernel knows them.
const KNOWN: ABI = ABI::V7;

/// Folders of which files are read.
const READ: BitFlags<AccessFs> = make_bitflags!(AccessFs::{ReadFile | ReadDir});
/// Folders with sockets and captures. Devices, links and programs are made nowhere.
const WRITE: BitFlags<AccessFs> =
    make_bitflags!(AccessFs::{ReadFile | ReadDir | WriteFile | Truncate | MakeReg | MakeSock | RemoveFile});
/// A capture that is there.
const CAPTURE: BitFlags<AccessFs> = make_bitflags!(AccessFs::{WriteFile | Truncate});
const DEVICE: BitFlags<AccessFs> = make_bitflags!(AccessFs::{ReadFile | WriteFile | IoctlDev});

/// The files that are left.
pub struct Files {
    /// The folders in which files may be made.
    folders: BTreeSet<PathBuf>,
    rules: Vec<PathBeneath<PathFd>>,
    abi: i32,
}

impl Files {
    /// Opens what `policy`, which was read from `path`, is about, and the folders `more`.
    ///
    /// # Errors
    /// One of `more` can't be opened.
    pub fn of(path: &Path, policy: &Policy, more: &[PathBuf]) -> Result<Self, ServerError> {
        for path in more {
            let found = fs::read_dir(path).map(drop);
            found.map_err(|error| ServerError::Folder { path: path.clone(), error })?;
        }
        let channels = policy.channels.iter().flat_map(|channel| channel.sockets.iter().map(|it| parent(&it.path)));
        let sockets = policy.vms.iter().map(|vm| parent(&vm.socket)).chain([parent(&policy.control)]).chain(channels);
        let folders: BTreeSet<_> = sockets.chain([policy.folder.clone()]).chain(more.iter().cloned()).collect();
        // An editor puts a new file in the place of the policy: the folder has it, and the one that a link leads to.
        let real = fs::canonicalize(path).unwrap_or_else(|_| path.into());
        let policies = [parent(path), parent(&real)].into_iter().map(|folder| (folder, READ));
        let captures = policy.captures().flatten().map(|path| (path.into(), CAPTURE));
        let all = folders.iter().map(|folder| (folder.clone(), WRITE)).chain(policies).chain(captures);
        // Which devices it gives is up to the rights of the process.
        let all = all.chain([(TUN.into(), DEVICE)]);
        // What is not there is not left.
        let rules = all.filter_map(|(path, access)| Some(PathBeneath::new(PathFd::new(path).ok()?, access))).collect();
        Ok(Self { folders, rules, abi: 0 })
    }

    /// Restricts the calling thread, and those that it starts. Says why the kernel does not, if so.
    pub fn restrict(mut self) -> Result<Self, String> {
        let status = restrict(std::mem::take(&mut self.rules)).map_err(|error| error.to_string())?;
        match (status.ruleset, status.landlock) {
            (RulesetStatus::NotEnforced, LandlockStatus::NotEnabled) => {
                Err("the kernel was started without landlock".into())
            }
            (RulesetStatus::NotEnforced, _) => Err("the kernel has no landlock".into()),
            (_, LandlockStatus::Available { effective_abi, .. }) => {
                Ok(Self { abi: (effective_abi as i32).min(KNOWN as i32), ..self })
            }
            (status, landlock) => Err(format!("landlock: {status:?}, {landlock:?}")),
        }
    }

    /// Returns what holds.
    pub fn holds(&self) -> String {
        format!("by landlock ABI {}", self.abi)
    }

    /// Returns where files may be made.
    pub fn allowed(&self) -> String {
        let folders: Vec<_> = self.folders.iter().map(|folder| folder.display().to_string()).collect();
        format!("the sandbox has the server make files in {} alone: --writes names more", folders.join(", "))
    }
}

/// Takes all rights away but those of `rules`: of files, and with later kernels of TCP and of abstract sockets.
fn restrict(rules: Vec<PathBeneath<PathFd>>) -> Result<RestrictionStatus, RulesetError> {
    let set = Ruleset::default().handle_access(AccessFs::from_all(KNOWN))?.handle_access(AccessNet::from_all(KNOWN))?;
    let set = set.scope(Scope::AbstractUnixSocket)?.create()?;
    set.add_rules(rules.into_iter().map(Ok::<_, RulesetError>))?.restrict_self()
}

/// Returns the folder of `path`.
fn parent(path: &Path) -> PathBuf {
    match path.parent() {
        Some(folder) if folder.as_os_str().is_empty() => ".".into(),
        Some(folder) => folder.into(),
        None => path.into(),
    }
}
