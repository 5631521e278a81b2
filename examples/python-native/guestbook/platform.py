"""The versions of what lies below the application, asked at run time."""

import platform
import ssl

import psycopg2
import psycopg2.extensions

PACKAGES = {"base-files", "libc6", "libpq5", "libpython3.13-stdlib", "libssl3t64"}


def _libpq(number):
    return f"{number // 10000}.{number % 10000}"


def versions():
    """Gives name → version: the system, the interpreter, libpq as compiled against and as loaded, and packages."""
    found = {
        "os": platform.freedesktop_os_release()["PRETTY_NAME"],
        "python": platform.python_version(),
        "openssl": ssl.OPENSSL_VERSION,
        "libpq (compiled against)": _libpq(psycopg2.__libpq_version__),
        "libpq (loaded)": _libpq(psycopg2.extensions.libpq_version()),
    }
    with open("/var/lib/dpkg/status", encoding="utf-8") as status:
        for entry in status.read().split("\n\n"):
            fields = dict(line.split(": ", 1) for line in entry.splitlines() if ": " in line and line[0] != " ")
            if fields.get("Package") in PACKAGES:
                found[fields["Package"]] = fields["Version"]
    return found
