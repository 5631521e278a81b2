//! Proxies on the host's loopback: a command in a network of its own does not reach them.

use otoshi_http::{authority_of, host_in, is_loopback};

use crate::UnreachedProxy;

/// The setting that names a proxy on the loopback; `None` where none does.
pub(crate) fn on_loopback(env: &[(String, String)]) -> Option<UnreachedProxy> {
    let is_setting = |name: &str| {
        ["http_proxy", "https_proxy", "ftp_proxy", "all_proxy"]
            .iter()
            .any(|known| known.eq_ignore_ascii_case(name))
    };
    let proxies = env.iter().filter(|(name, _)| is_setting(name));
    proxies
        .map(|(name, value)| (name, host_in(authority_of(value))))
        .find(|(_, host)| is_loopback(host))
        .map(|(name, host)| UnreachedProxy { variable: name.clone(), host: host.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_is_on_the_loopback_however_it_is_written() {
        let told = |name: &str, value: &str| {
            on_loopback(&[("A".into(), "b".into()), (name.into(), value.into())])
                .map(|proxy| proxy.to_string())
        };
        for value in [
            "http://127.0.0.1:3128",
            "localhost:3128",
            "http://me:secret@LOCALHOST/",
            "http://[::1]:3128",
            "127.1.2.3",
        ] {
            let warning = told("HTTPS_PROXY", value).unwrap();
            assert!(warning.starts_with("HTTPS_PROXY names ") && !warning.contains("secret"), "{warning}");
        }
        for value in
            ["http://proxy.test:3128", "http://10.0.0.1", "", "http://localhost.test", "http://[fd00::1]:1"]
        {
            assert_eq!(told("http_proxy", value), None, "{value}");
        }
        assert_eq!(told("NO_PROXY", "localhost"), None);
    }
}
