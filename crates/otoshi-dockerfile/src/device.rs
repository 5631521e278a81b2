//! RUN `--device`: the name of a device, and whether it must be there.
//!
//! Spec: <https://docs.docker.com/reference/dockerfile/#run---device>. A name is taken as it stands, with no variables, as BuildKit does.

use crate::{Device, csv, error::Fault};

const KEYS: [&str; 2] = ["name", "required"];

/// Parses the value of one `--device`.
pub(crate) fn parse(text: &str) -> Result<Device, Fault> {
    let mut device = Device { name: String::new(), required: false };
    for field in csv::fields(text)? {
        let (key, value) =
            field.split_once('=').map_or((field.as_str(), None), |(key, value)| (key, Some(value)));
        match (key.to_lowercase().as_str(), value) {
            ("required", None) => device.required = true,
            ("required", Some(value)) => {
                device.required = csv::truth(value).ok_or_else(|| {
                    Fault::new(format!("the device option \"required\" must be true or false, not {value:?}"))
                })?;
            }
            ("name", Some(_)) if !device.name.is_empty() => {
                return Err(Fault::new(format!("the device already has the name {:?}", device.name)));
            }
            ("name", Some(name)) => name.clone_into(&mut device.name),
            // A name has a "=" of its own.
            _ if device.name.is_empty() => device.name = field,
            (key, _) => {
                let fault = Fault::new(format!("unknown device option {key:?}"));
                return Err(fault.did_you_mean(key, KEYS, |near| format!("{near:?}")));
            }
        }
    }
    if device.name.is_empty() {
        return Err(Fault::new("--device needs the name of a device").hint("--device=vendor.com/class=name"));
    }
    Ok(device)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_and_whether_it_must_be_there() {
        for (text, name, required) in [
            ("vendor.com/class=name", "vendor.com/class=name", false),
            ("vendor.com/class=*", "vendor.com/class=*", false),
            ("vendor.com/class,required", "vendor.com/class", true),
            ("required,name=vendor.com/class=name", "vendor.com/class=name", true),
            ("NAME=class1,Required=T", "class1", true),
            ("class1,required=true,required=0", "class1", false),
            ("\"a,b\",required", "a,b", true),
            ("$DEVICE", "$DEVICE", false),
        ] {
            assert_eq!(parse(text).unwrap(), Device { name: name.into(), required }, "{text}");
        }
    }

    #[test]
    fn mistakes_are_named() {
        for (text, message, hint) in [
            ("", "--device needs the name of a device", Some("--device=vendor.com/class=name")),
            ("required", "--device needs the name of a device", Some("--device=vendor.com/class=name")),
            ("name=,required", "--device needs the name of a device", Some("--device=vendor.com/class=name")),
            ("a/b=c,name=d/e=f", "the device already has the name \"a/b=c\"", None),
            ("a/b=c,requird", "unknown device option \"requird\"", Some("did you mean \"required\"?")),
            ("a/b=c,d/e=f", "unknown device option \"d/e\"", None),
            ("a/b,required=yes", "the device option \"required\" must be true or false, not \"yes\"", None),
        ] {
            let fault = parse(text).unwrap_err();
            assert_eq!((fault.message.as_str(), fault.hint.as_deref()), (message, hint), "{text}");
        }
        assert!(parse("\"a").is_err());
    }
}
