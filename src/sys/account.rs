//! Users and groups, by name or number, and the change to another user.

use std::collections::BTreeSet;
use std::ffi::{CStr, CString};

use nix::errno::Errno;
use nix::sys::stat::FileStat;
use nix::unistd::{self, Gid, Group, Uid, User};

/// An account that is not there, or could not be looked up.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum AccountError {
    #[error("no {kind} `{name}` on this system; make it, for instance with pw(8)")]
    Unknown { kind: &'static str, name: String },
    #[error("looking up {kind} `{name}`: {}", errno.desc())]
    LookUp { kind: &'static str, name: String, errno: Errno },
}

/// The user of this name, or of this number.
pub(crate) fn user(name: &str) -> Result<User, AccountError> {
    let found = match name.parse() {
        Ok(uid) => User::from_uid(Uid::from_raw(uid)),
        Err(_) => User::from_name(name),
    };
    resolve("user", name, found)
}

/// The group of this name, or of this number.
pub(crate) fn group(name: &str) -> Result<Gid, AccountError> {
    let found = match name.parse() {
        Ok(gid) => return Ok(Gid::from_raw(gid)),
        Err(_) => Group::from_name(name),
    };
    resolve("group", name, found).map(|group| group.gid)
}

/// The groups that a process of this user has when its own group is `gid`; where they cannot be
/// listed, that one.
pub(crate) fn groups_of(user: &User, gid: Gid) -> Vec<Gid> {
    let name = CString::new(user.name.as_str()).unwrap_or_default();
    unistd::getgrouplist(&name, gid).unwrap_or_else(|_| vec![gid])
}

/// Whether the permission bits let a user with these groups write to a file.
pub(crate) fn may_write(user: &User, groups: &[Gid], stat: &FileStat) -> bool {
    let bit = if stat.st_uid == user.uid.as_raw() {
        0o200
    } else if groups.iter().any(|gid| gid.as_raw() == stat.st_gid) {
        0o020
    } else {
        0o002
    };
    stat.st_mode & bit != 0
}

fn resolve<T>(
    kind: &'static str,
    name: &str,
    found: nix::Result<Option<T>>,
) -> Result<T, AccountError> {
    let name = name.to_owned();
    match found {
        Ok(Some(account)) => Ok(account),
        Ok(None) => Err(AccountError::Unknown { kind, name }),
        Err(errno) => Err(AccountError::LookUp { kind, name, errno }),
    }
}

/// A user and a group to run as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) name: String,
    pub(crate) uid: Uid,
    pub(crate) gid: Gid,
}

/// Privileges that could not be given up.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PrivilegeError {
    #[error("{call}: {}", errno.desc())]
    Call { call: &'static str, errno: Errno },
    #[error("the process is not what it was to become: {0}")]
    Unchanged(&'static str),
}

impl Identity {
    /// `user` with `group`, or with its login group.
    pub(crate) fn resolve(user_name: &str, group_name: Option<&str>) -> Result<Self, AccountError> {
        let user = user(user_name)?;
        let gid = group_name.map_or(Ok(user.gid), group)?;
        Ok(Self { name: user.name, uid: user.uid, gid })
    }

    /// Becomes this identity for good: supplementary groups first, then the group, then the user,
    /// each of real, effective and saved. Reads back that it is so.
    pub(crate) fn assume(&self) -> Result<(), PrivilegeError> {
        let call = |call| move |errno| PrivilegeError::Call { call, errno };
        let name =
            CString::new(self.name.as_str()).map_err(|_| PrivilegeError::Unchanged("name"))?;
        unistd::initgroups(&name, self.gid).map_err(call("initgroups"))?;
        unistd::setresgid(self.gid, self.gid, self.gid).map_err(call("setresgid"))?;
        unistd::setresuid(self.uid, self.uid, self.uid).map_err(call("setresuid"))?;
        self.verify(&name)
    }

    fn verify(&self, name: &CStr) -> Result<(), PrivilegeError> {
        let call = |call| move |errno| PrivilegeError::Call { call, errno };
        let unchanged = |what| Err(PrivilegeError::Unchanged(what));
        let uids = unistd::getresuid().map_err(call("getresuid"))?;
        if [uids.real, uids.effective, uids.saved] != [self.uid; 3] {
            return unchanged("user");
        }
        let gids = unistd::getresgid().map_err(call("getresgid"))?;
        if [gids.real, gids.effective, gids.saved] != [self.gid; 3] {
            return unchanged("group");
        }
        let groups =
            |groups: Vec<Gid>| groups.into_iter().map(Gid::as_raw).collect::<BTreeSet<_>>();
        let mut wanted =
            groups(unistd::getgrouplist(name, self.gid).map_err(call("getgrouplist"))?);
        let mut has = groups(unistd::getgroups().map_err(call("getgroups"))?);
        // Whether the group itself is among the supplementary ones differs between systems.
        wanted.insert(self.gid.as_raw());
        has.insert(self.gid.as_raw());
        if has != wanted {
            return unchanged("supplementary groups");
        }
        if !self.uid.is_root() && unistd::setuid(Uid::from_raw(0)).is_ok() {
            return unchanged("user: it can still become root");
        }
        Ok(())
    }
}
