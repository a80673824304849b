//! AWX, by its stand-in.

use super::{INSTANCES, all, configure, soon, usual};
use crate::awx_server::{Awx, KEY, TOKEN};
use crate::ground::{Cloud, Node};
use crate::matrix::{Fault, Look, Proxy, Service, Site};
use bootstrap_core::Step;
use serde_json::{Value, json};
use std::fs;
use std::sync::Arc;

/// AWX, by its callback and its API.
pub struct Callback {
    cloud: Cloud,
    ends_as: &'static str,
    /// Whether the node has a token to look with; else the playbook's last task tells it.
    looks: bool,
}

impl Callback {
    pub fn start() -> Self {
        Self { cloud: Cloud::of(INSTANCES), ends_as: "successful", looks: false }
    }
    /// Whose jobs can be looked at: they are looked for before anybody asks for one.
    pub fn with_token() -> Self {
        Self { looks: true, ..Self::start() }
    }
    /// Whose jobs do not end.
    pub fn running() -> Self {
        Self { ends_as: "", ..Self::with_token() }
    }
    const fn attempt(&self) -> &'static str {
        if self.ends_as.is_empty() { "10m" } else { "5s" }
    }
}

impl Service for Callback {
    fn step(&self) -> Step {
        Step::Awx
    }
    fn faults(&self) -> Vec<Fault> {
        all(&[])
    }
    fn words(&self, fault: Fault) -> Vec<String> {
        match fault {
            // Its answer may take minutes: the attempt ends before.
            Fault::Hangs | Fault::Trickles if self.looks => {
                vec!["it did not end within 5s: AWX has not listed its jobs yet".to_owned()]
            }
            Fault::Hangs | Fault::Trickles => {
                vec!["it did not end within 5s: AWX has not answered the callback yet".to_owned()]
            }
            _ if self.looks => usual("AWX", fault),
            Fault::Page => vec!["AWX answered 200 (<html>Log in</html>)".to_owned(), "a proxy's".to_owned()],
            Fault::Says(403) => {
                vec!["AWX answered 403".to_owned(), "the host config key is wrong".to_owned()]
            }
            Fault::Says(404) => {
                vec!["AWX answered 404".to_owned(), "is the number of the job template right?".to_owned()]
            }
            _ => usual("AWX", fault),
        }
    }
    fn site(&self, number: usize, fault: Option<Fault>) -> Site {
        let awx = Arc::new(Awx::start());
        awx.state().ends_as = self.ends_as;
        let node = Node::new(&self.cloud, number, "");
        let proxy = Proxy::start(awx.addr(), true, fault);
        fs::write(node.path().join("key"), KEY).expect("written");
        fs::write(node.path().join("token"), TOKEN).expect("written");
        let done = json!({"job": 1, "instance": node.instance, "status": "successful"});
        fs::create_dir_all(node.path().join("state/awx")).expect("made");
        // As old as can be: it is the job's of that number, and no proof that one was asked for.
        let file = node.path().join("state/awx/1.json");
        fs::write(&file, done.to_string()).expect("written");
        let old = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1);
        fs::File::options().write(true).open(&file).and_then(|file| file.set_modified(old)).expect("set");
        let token = if self.looks { "token_file = \"$PLACE/token\"\n" } else { "" };
        let text = format!(
            "awx {{\n  address = \"PROXY\"\n  ca_file = \"$PLACE/ca.pem\"\n  template = 7\n  key_file = \"$PLACE/key\"\n  \
             {token}  jitter = \"0s\"\n}}\n{}",
            soon("awx", self.attempt())
        );
        configure(&self.cloud, &node, &proxy, &text);
        let jobs = Arc::clone(&awx);
        let outside: Look = Box::new(move |_| {
            let state = jobs.state();
            json!({"jobs": state.jobs.len(), "at once": state.most_at_once})
        });
        let beyond: Look = Box::new(move |_| {
            let jobs = awx.state().jobs.len();
            if jobs == 0 { Value::Null } else { json!(jobs) }
        });
        let secrets = vec![KEY.to_owned(), TOKEN.to_owned()];
        Site { secrets, outside, beyond, ..Site::new(node, proxy) }
    }
}
