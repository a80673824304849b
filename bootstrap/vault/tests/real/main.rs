//! Against real Vault and real OpenBao.

mod files;
mod logins;
mod process;
mod restarts;
mod secrets;
mod site;
