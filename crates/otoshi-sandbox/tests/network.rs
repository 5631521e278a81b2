//! The network of a command's own: what it reaches outside, and what of the host it does not.

mod support;

use std::{
    collections::HashSet,
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket},
    os::{
        fd::OwnedFd,
        linux::net::SocketAddrExt,
        unix::net::{SocketAddr as UnixAddr, UnixListener},
    },
    path::Path,
    process::{Command, Output},
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::Duration,
};

use otoshi_sandbox::{Network, Root, Spec};
use otoshi_test::{Missing, Need, given, require};
use rustix::net::{AddressFamily, SocketType};
use support::{INIT, Image, bind, host_libraries, output, run, start};

const UID: u32 = 54321;

/// An address of this machine that is not of its loopback.
fn own_address() -> Result<IpAddr, Missing> {
    require(&[Need::Address])?;
    let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
    // Nothing is sent.
    socket.connect("192.0.2.1:9").unwrap();
    Ok(socket.local_addr().unwrap().ip())
}

/// A port at which connections are refused for as long as what holds it is there: it is taken, and nobody listens.
fn refusing(address: IpAddr) -> (OwnedFd, u16) {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = rustix::net::socket(family, SocketType::STREAM, None).unwrap();
    rustix::net::bind(&socket, &SocketAddr::new(address, 0)).unwrap();
    let bound = SocketAddr::try_from(rustix::net::getsockname(&socket).unwrap()).unwrap();
    (socket, bound.port())
}

/// Serves each connection on a thread of its own for as long as the test runs.
fn serve(address: IpAddr, answer: fn(TcpStream)) -> u16 {
    let listener = TcpListener::bind((address, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || answer(stream));
        }
    });
    port
}

fn say_reached(mut stream: TcpStream) {
    let _ = stream.write_all(b"reached\n");
}

/// Gives back what came, once all of it has.
fn give_back(mut stream: TcpStream) {
    let mut all = Vec::new();
    let _ = stream.read_to_end(&mut all);
    let _ = stream.write_all(&all);
}

fn swallow(mut stream: TcpStream) {
    let _ = std::io::copy(&mut stream, &mut std::io::sink());
}

/// A script for the host's perl, which knows more of sockets than busybox.
fn perl(image: &Image, script: &str) -> Spec {
    let mut spec = image.spec(&["/usr/bin/perl", "-MSocket", "-e", script]);
    spec.mounts = host_libraries();
    spec.mounts.push(bind("/usr", "/usr", true));
    spec
}

/// As an ordinary user, whom the device is given or not.
fn rootless(image: &Image, mut spec: Spec, has_device: bool) -> Output {
    if let Root::Overlay { userxattr, .. } = &mut spec.root {
        *userxattr = true;
    }
    let program = image.path("runner");
    fs::copy(INIT, &program).unwrap();
    fs::write(image.path("spec.json"), serde_json::to_string(&spec).unwrap()).unwrap();
    let everything = ["layer", "upper", "work"].map(|name| image.path(name));
    let own = Command::new("chown").args(["-hR", &format!("{UID}:{UID}")]).args(everything).status().unwrap();
    assert!(own.success());
    let script = format!(
        "set -e; cd {}; mount -t tmpfs -o mode=755 tun /dev/net; mknod -m {} /dev/net/tun c 10 200; \
         exec setpriv --reuid {UID} --regid {UID} --clear-groups ./runner run spec.json",
        image.path("").display(),
        if has_device { "666" } else { "600" },
    );
    Command::new("unshare").args(["--mount", "sh", "-c", &script]).output().unwrap()
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn the_hosts_loopback_is_reached_on_the_hosts_network_only() {
    let image = given!(Image::new());
    let port = serve(Ipv4Addr::LOCALHOST.into(), say_reached);
    let mut spec = image.script(&format!(
        "for place in 127.0.0.1 10.0.2.2 10.0.2.3; do nc -w 3 $place {port} </dev/null; done; true"
    ));
    assert_eq!(output(&spec), "");
    image.renew();
    spec.network = Network::None;
    assert_eq!(output(&spec), "");
    image.renew();
    spec.argv[2] = format!("nc -w 3 127.0.0.1 {port} </dev/null");
    spec.network = Network::Host;
    assert_eq!(output(&spec), "reached\n");
}

#[test]
fn the_hosts_abstract_sockets_and_packets_are_out_of_reach() {
    let image = given!(Image::new());
    let name = format!("otoshi-test-{}", std::process::id());
    let _listener = UnixListener::bind_addr(&UnixAddr::from_abstract_name(&name).unwrap()).unwrap();
    let mut spec = perl(
        &image,
        &format!(
            "socket(my $s, AF_UNIX, SOCK_STREAM, 0) or die; print connect($s, pack('S', AF_UNIX) . qq(\\0{name})) ? \
             'reached' : $!; open(my $f, '<', '/proc/net/dev'); my @d = map {{ /^\\s*(\\w+):/ ? $1 : () }} <$f>; print qq( @d)"
        ),
    );
    assert_eq!(output(&spec), "Connection refused lo eth0");
    image.renew();
    spec.network = Network::Host;
    assert!(output(&spec).starts_with("reached lo"));
}

#[test]
fn the_link_and_clouds_services_are_refused_at_once() {
    let image = given!(Image::new());
    for (place, error) in [
        ("169.254.169.254", "No route to host"),
        ("100.100.100.200", "No route to host"),
        ("0.0.0.1", "No route to host"),
        ("fe80::1", "Invalid argument"),
        ("fd00:ec2::254", "Permission denied"),
        ("::ffff:169.254.169.254", "No route to host"),
        ("64:ff9b::127.0.0.1", "Permission denied"),
    ] {
        let result = run(&image.script(&format!("nc -w 20 {place} 80 </dev/null")));
        assert_ne!(result.status.code, Some(0), "{place}");
        // Without IPv6 on the host, or in its kernel, there is no way there either.
        let told = [error, "Network is unreachable", "Address family not supported"];
        assert!(told.iter().any(|told| result.stderr.contains(told)), "{place}: {}", result.stderr);
        image.renew();
    }
}

#[test]
fn a_refused_connection_is_told_as_one() {
    let address = given!(own_address());
    let image = given!(Image::new());
    let (_held, free) = refusing(address);
    let result = run(&image.script(&format!("nc -w 20 {address} {free} </dev/null")));
    assert!(result.stderr.contains("Connection refused"), "{}", result.stderr);
    image.renew();
    let result = run(&perl(
        &image,
        &format!(
            "socket(my $s, AF_INET, SOCK_DGRAM, 0) or die; connect($s, sockaddr_in({free}, inet_aton('{address}'))) or die; \
             send($s, 'x', 0); $SIG{{ALRM}} = sub {{ print 'nothing'; exit }}; alarm 10; \
             defined recv($s, my $b, 10, 0) ? print 'something' : print $!"
        ),
    ));
    assert_eq!(result.stdout, "Connection refused");
}

#[test]
fn plain_http_goes_through_a_relay_which_asks_once() {
    let address = given!(own_address());
    let image = given!(Image::new());
    static ASKED: AtomicUsize = AtomicUsize::new(0);
    let port = serve(address, |mut stream| {
        ASKED.fetch_add(1, Ordering::Relaxed);
        let mut head = [0; 4096];
        let _ = stream.read(&mut head);
        let _ = stream
            .write_all(b"HTTP/1.1 200 OK\r\nCache-Control: max-age=600\r\nContent-Length: 3\r\n\r\nyes");
    });
    let directory = tempfile::tempdir().unwrap();
    let relay = otoshi_relay::Relay::start(directory.path(), 1 << 20).unwrap();
    let admission = relay.admit(None).unwrap();
    let through = |script: &str, port: u16| {
        let mut spec = image.script(script);
        spec.relay = Some(otoshi_relay::Entrance { http: port, ..admission.entrance() });
        let result = run(&spec);
        image.renew();
        result
    };
    for _ in 0..2 {
        assert_eq!(through(&format!("wget -qO- http://{address}:{port}/a"), port).stdout, "yes");
    }
    // The relay connects each time, and asks when there is something to ask.
    assert_eq!((ASKED.load(Ordering::Relaxed), relay.saved()), (2, 3));
    // Other ports do not go through it, and a refusal is one.
    assert_eq!(through(&format!("wget -qO- http://{address}:{port}/a"), 1).stdout, "yes");
    assert_eq!(relay.saved(), 3);
    let (_held, free) = refusing(address);
    let result = through(&format!("nc -w 20 {address} {free} </dev/null"), free);
    assert!(result.stderr.contains("Connection refused"), "{}", result.stderr);
}

#[test]
fn large_transfers_arrive_intact_both_ways() {
    let address = given!(own_address());
    let image = given!(Image::new());
    let port = serve(address, give_back);
    let spec = image.script(&format!(
        "dd if=/dev/urandom of=/sent bs=1M count=50 2>/dev/null; nc {address} {port} </sent >/received; \
         cmp /sent /received && stat -c %s /received"
    ));
    assert_eq!(output(&spec), "52428800\n");
}

#[test]
fn many_connections_are_carried_at_once() {
    let address = given!(own_address());
    let image = given!(Image::new());
    /// Waits until all are there.
    fn meet(mut stream: TcpStream) {
        use std::sync::{Condvar, Mutex, PoisonError};
        static THERE: (Mutex<u32>, Condvar) = (Mutex::new(0), Condvar::new());
        let mut number = [0; 64];
        let length = stream.read(&mut number).unwrap();
        let mut there = THERE.0.lock().unwrap_or_else(PoisonError::into_inner);
        *there += 1;
        THERE.1.notify_all();
        while *there < 200 {
            there = THERE.1.wait(there).unwrap();
        }
        drop(there);
        stream.write_all(&number[..length]).unwrap();
    }
    let port = serve(address, meet);
    let spec = image.script(&format!(
        "for i in $(seq 200); do (echo $i | nc {address} {port} >/out.$i) & done; wait; cat /out.* | sort -n | uniq | wc -l"
    ));
    assert_eq!(output(&spec).trim(), "200");
}

#[test]
fn each_half_of_a_connection_ends_on_its_own() {
    let address = given!(own_address());
    let image = given!(Image::new());
    /// Reads to the end, and only then answers; slowly.
    fn after_the_end(mut stream: TcpStream) {
        let mut all = Vec::new();
        stream.read_to_end(&mut all).unwrap();
        thread::sleep(Duration::from_millis(300));
        stream.write_all(format!("{} bytes\n", all.len()).as_bytes()).unwrap();
        thread::sleep(Duration::from_millis(300));
        stream.write_all(b"and more\n").unwrap();
    }
    let port = serve(address, after_the_end);
    let spec = image.script(&format!("dd if=/dev/zero bs=1000 count=300 2>/dev/null | nc {address} {port}"));
    assert_eq!(output(&spec), "300000 bytes\nand more\n");
    image.renew();
    /// Ends its own half first, and goes on reading.
    fn before_the_end(mut stream: TcpStream) {
        stream.write_all(b"all\n").unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let mut lines = BufReader::new(stream).lines();
        fs::write(lines.next().unwrap().unwrap(), lines.next().unwrap().unwrap()).unwrap();
    }
    let port = serve(address, before_the_end);
    let heard = image.path("heard");
    let spec = perl(
        &image,
        &format!(
            "socket(my $s, AF_INET, SOCK_STREAM, 0) or die; connect($s, sockaddr_in({port}, inet_aton('{address}'))) or die; \
             my @all = <$s>; print scalar(@all), ' ', @all; sleep 1; syswrite $s, qq({}\\nstill\\n); shutdown($s, 1); sleep 1",
            heard.display()
        ),
    );
    assert_eq!(output(&spec), "1 all\n");
    assert_eq!(fs::read_to_string(heard).unwrap(), "still");
}

#[test]
fn a_broken_connection_is_told_as_one() {
    let address = given!(own_address());
    let image = given!(Image::new());
    fn break_it(mut stream: TcpStream) {
        let _ = stream.read(&mut [0; 1]);
        rustix::net::sockopt::set_socket_linger(&stream, Some(Duration::ZERO)).unwrap();
    }
    let port = serve(address, break_it);
    let script = format!(
        "socket(my $s, AF_INET, SOCK_STREAM, 0) or die; connect($s, sockaddr_in({port}, inet_aton('{address}'))) or die; \
         syswrite $s, 'xy'; defined sysread($s, my $b, 10) ? print 'an end' : print $!"
    );
    assert_eq!(output(&perl(&image, &script)), "Connection reset by peer");
}

#[test]
fn datagrams_go_out_and_come_back() {
    let address = given!(own_address());
    let image = given!(Image::new());
    let socket = UdpSocket::bind((address, 0)).unwrap();
    let port = socket.local_addr().unwrap().port();
    thread::spawn(move || {
        let mut buffer = vec![0; 65536];
        while let Ok((length, from)) = socket.recv_from(&mut buffer) {
            let _ = socket.send_to(&buffer[..length], from);
        }
    });
    let script = format!(
        "socket(my $s, AF_INET, SOCK_DGRAM, 0) or die; my $to = sockaddr_in({port}, inet_aton('{address}')); \
         $SIG{{ALRM}} = sub {{ die 'nothing came' }}; alarm 20; for my $n (1, 1200, 9000, 60000) {{ my $d = chr(65 + $n % 26) x $n; \
         send($s, $d, 0, $to) or die $!; my $from = recv($s, my $b, 65536, 0); print length $b, $b eq $d ? ' same ' : ' other ', \
         $from eq $to ? qq(from there\\n) : qq(from elsewhere\\n) }}"
    );
    let seen = output(&perl(&image, &script));
    assert_eq!(
        seen,
        "1 same from there\n1200 same from there\n9000 same from there\n60000 same from there\n"
    );
}

/// Answers every question for an address with one, over UDP and TCP. Format: RFC 1035.
fn serve_names(place: SocketAddr) {
    fn answer(question: &[u8]) -> Vec<u8> {
        let end = 12 + question[12..].iter().position(|byte| *byte == 0).unwrap() + 5;
        let mut answer = question[..end].to_vec();
        let is_address = question[end - 4..end] == [0, 1, 0, 1];
        answer[2..12].copy_from_slice(&[0x81, 0x80, 0, 1, 0, u8::from(is_address), 0, 0, 0, 0]);
        if is_address {
            answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 77]);
        }
        answer
    }
    let socket = UdpSocket::bind(place).unwrap();
    let listener = TcpListener::bind(place).unwrap();
    thread::spawn(move || {
        let mut buffer = [0; 1500];
        while let Ok((length, from)) = socket.recv_from(&mut buffer) {
            let _ = socket.send_to(&answer(&buffer[..length]), from);
        }
    });
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut length = [0; 2];
            stream.read_exact(&mut length).unwrap();
            let mut question = vec![0; u16::from_be_bytes(length).into()];
            stream.read_exact(&mut question).unwrap();
            let answer = answer(&question);
            stream.write_all(&[&(answer.len() as u16).to_be_bytes()[..], &answer].concat()).unwrap();
        }
    });
}

#[test]
fn names_are_found_by_a_nameserver_on_the_hosts_loopback() {
    let image = given!(Image::new());
    serve_names("127.77.0.53:53".parse().unwrap());
    fs::write(image.path("resolv.conf"), "nameserver 127.77.0.53\n").unwrap();
    let look_up = "$SIG{ALRM} = sub { die }; alarm 20; socket(my $s, AF_INET, SOCK_STREAM, 0) or die; \
        connect($s, sockaddr_in(53, inet_aton('10.0.2.3'))) or die $!; \
        my $q = pack('n6', 7, 256, 1, 0, 0, 0) . qq(\\1a\\4test\\0) . pack('n2', 1, 1); syswrite $s, pack('n', length $q) . $q; \
        sysread $s, my $b, 512; print join('.', unpack('C4', substr($b, -4))), qq(\\n); \
        my @found = gethostbyname('something.test'); print join('.', unpack('C4', $found[4])), qq(\\n)";
    let spec = perl(&image, look_up);
    fs::write(image.path("spec.json"), serde_json::to_string(&spec).unwrap()).unwrap();
    let script = format!(
        "set -e; cd {}; mount --bind resolv.conf /etc/resolv.conf; exec {INIT} run spec.json",
        image.path("").display()
    );
    let output = Command::new("unshare").args(["--mount", "sh", "-c", &script]).output().unwrap();
    assert_eq!(text(&output), "192.0.2.77\n192.0.2.77\n");
}

#[test]
fn an_ordinary_user_has_the_same_network() {
    given!(require(&[Need::UserNamespaces]));
    let address = given!(own_address());
    let image = given!(Image::new());
    let (own, outside) = (serve(Ipv4Addr::LOCALHOST.into(), say_reached), serve(address, give_back));
    let (_held, free) = refusing(address);
    let spec = |image: &Image| {
        image.script(&format!(
        "for place in 127.0.0.1 10.0.2.2; do nc -w 3 $place {own} </dev/null 2>/dev/null; done; ls /sys/class/net; \
         nc -w 20 {address} {free} </dev/null 2>&1 | grep -o refused; \
         dd if=/dev/urandom of=/sent bs=1M count=50 2>/dev/null; nc {address} {outside} </sent >/received; \
         cmp /sent /received && stat -c %s /received; nc -l -p 80 -e /bin/true & sleep 0.2; nc 127.0.0.1 80 </dev/null && echo low"
    ))
    };
    let output = rootless(&image, spec(&image), true);
    assert_eq!(text(&output), "eth0\nlo\nrefused\n52428800\nlow\n");
    // Without the device, by a line.
    let image = given!(Image::new());
    let output = rootless(&image, spec(&image), false);
    assert_eq!(text(&output), "eth0\nlo\noutlet\nrefused\n52428800\nlow\n");
}

#[test]
fn a_port_of_the_command_is_reached_from_outside() {
    let image = given!(Image::new());
    let script = "for i in 1 2; do nc -l -p 8080 -e /bin/echo inside; done & sleep 0.3; echo up; wait";
    let (running, stdout, _stderr) = start(&image.script(script)).unwrap();
    assert_eq!(BufReader::new(stdout).lines().next().unwrap().unwrap(), "up");
    let handle = running.handle();
    for _ in 0..2 {
        let mut answer = String::new();
        let reached = (0..100).find_map(|_| {
            thread::sleep(Duration::from_millis(20));
            handle.connect(8080).ok()
        });
        reached.unwrap().read_to_string(&mut answer).unwrap();
        assert_eq!(answer, "inside\n");
    }
    assert_eq!(running.wait().unwrap().code, Some(0));
    assert!(handle.connect(8080).is_err());
}

/// The network namespaces that processes are in.
fn namespaces() -> HashSet<String> {
    let links = fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.path().join("ns/net"));
    links.filter_map(|link| Some(fs::read_link(link).ok()?.display().to_string())).collect()
}

#[test]
fn nothing_of_the_network_outlives_a_killed_command() {
    let address = given!(own_address());
    let image = given!(Image::new());
    let port = serve(address, swallow);
    let script = format!("readlink /proc/self/ns/net; yes | nc {address} {port} >/dev/null");
    let (running, stdout, _stderr) = start(&image.script(&script)).unwrap();
    let namespace = BufReader::new(stdout).lines().next().unwrap().unwrap();
    assert!(namespaces().contains(&namespace));
    let init = format!("/proc/{}", running.pid());
    thread::sleep(Duration::from_millis(100));
    running.kill();
    assert_eq!(running.wait().unwrap().signal, Some(9));
    assert!(!namespaces().contains(&namespace) && !Path::new(&init).exists());
}

#[test]
fn what_carries_packets_may_do_nothing_but_send_signals() {
    let image = given!(Image::new());
    let (running, stdout, _stderr) =
        start(&image.script("ping -c 1 10.0.2.2 >/dev/null; echo up; sleep 60")).unwrap();
    assert_eq!(BufReader::new(stdout).lines().next().unwrap().unwrap(), "up");
    let status = fs::read_to_string(format!("/proc/{}/status", running.pid())).unwrap();
    let held = status.lines().find(|line| line.starts_with("CapEff:")).unwrap();
    assert_eq!(held, "CapEff:\t0000000000000020");
    running.kill();
}
