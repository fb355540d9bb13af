//! Exit codes, as sysexits(3) names them. Every error of this crate says its own code here, so
//! that the choice is made in one place and both programs agree.

use std::process::ExitCode;

/// Why a program ends. The numbers are those of sysexits(3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Sysexit {
    /// It did what it was asked to do.
    Ok = 0,
    /// `EX_USAGE`: the command line is wrong.
    Usage = 64,
    /// `EX_DATAERR`: the input cannot be a record.
    DataErr = 65,
    /// `EX_UNAVAILABLE`: no daemon serves the pipe.
    Unavailable = 69,
    /// `EX_OSERR`: the system refused something that it normally grants, such as fork(2).
    OsErr = 71,
    /// `EX_CANTCREAT`: a pipe, pid file, socket or log file could not be made or taken.
    CantCreat = 73,
    /// `EX_IOERR`: reading or writing failed.
    IoErr = 74,
    /// `EX_TEMPFAIL`: timed out; trying again may help.
    TempFail = 75,
    /// `EX_NOPERM`: not permitted.
    NoPerm = 77,
    /// `EX_CONFIG`: the configuration is wrong.
    Config = 78,
}

impl Sysexit {
    /// The code that goes with a number, as far as this crate uses it.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Self> {
        [
            Self::Ok,
            Self::Usage,
            Self::DataErr,
            Self::Unavailable,
            Self::OsErr,
            Self::CantCreat,
            Self::IoErr,
            Self::TempFail,
            Self::NoPerm,
            Self::Config,
        ]
        .into_iter()
        .find(|code| *code as u8 == number)
    }
}

impl From<Sysexit> for ExitCode {
    fn from(code: Sysexit) -> Self {
        ExitCode::from(code as u8)
    }
}
