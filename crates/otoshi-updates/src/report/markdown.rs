//! A report in Markdown, for pull requests and job summaries.
//!
//! Names and versions come from images and registries: nothing in them is taken for Markdown or HTML.

use super::{Finding, PackageUpdate, Report, State};

impl Report {
    /// Writes it in Markdown.
    pub fn markdown(&self) -> String {
        let what = self.project.as_deref().map_or_else(|| format!("{} images", self.images.len()), plain);
        let counts = self.counts;
        let security =
            if counts.security > 0 { format!(" ({} security)", counts.security) } else { String::new() };
        let mut whole = format!(
            "## {what}: {} found{security}\n\n{} held, {} ignored, {} failed, {} unknown, {} fresh.\n",
            counts.found, counts.held, counts.ignored, counts.failed, counts.unknown, counts.fresh
        );
        if !self.findings.is_empty() {
            whole
                .push_str("\n| | what | since | would run | take it in |\n| --- | --- | --- | --- | --- |\n");
        }
        for finding in &self.findings {
            whole.push_str(&row(finding));
        }
        for finding in self.findings.iter().filter(|finding| !finding.packages.is_empty()) {
            whole.push_str(&format!(
                "\n<details><summary>Packages of {} ({})</summary>\n\n\
                 | package | source | in the image | newer | repository | |\n| --- | --- | --- | --- | --- | --- |\n",
                plain(&finding.name),
                finding.packages.len()
            ));
            for update in &finding.packages {
                whole.push_str(&package(update));
            }
            whole.push_str("\n</details>\n");
        }
        let foreign = self.images.iter().filter(|image| !image.foreign.is_empty());
        for (number, image) in foreign.enumerate() {
            let start = if number == 0 { "\n" } else { "" };
            let names = image.foreign.iter().map(|name| plain(name)).collect::<Vec<_>>().join(", ");
            let (name, count) = (plain(&image.name), image.foreign.len());
            whole.push_str(&format!(
                "{start}- {name}: {count} packages in none of its repositories: {names}\n"
            ));
        }
        let waning = self.support.iter().filter_map(|support| Some((support, support.told()?)));
        for (number, (support, told)) in waning.enumerate() {
            let start = if number == 0 { "\n" } else { "" };
            whole.push_str(&format!("{start}- {}: {}\n", plain(&support.name), plain(&told)));
        }
        for (number, unknown) in self.unknown.iter().enumerate() {
            let start = if number == 0 { "\n" } else { "" };
            let hint = unknown.hint.as_ref().map(|hint| format!(" ({})", plain(hint))).unwrap_or_default();
            let because = unknown.because.as_ref().map(|because| format!(" ({})", plain(because)));
            let word = if unknown.state == State::Found { "**unknown**" } else { word(unknown.state) };
            let (name, text) = (plain(&unknown.name), plain(&unknown.text));
            whole.push_str(&format!("{start}- {word} {name}: {text}{hint}{}\n", because.unwrap_or_default()));
        }
        for (number, failed) in self.failed.iter().enumerate() {
            let start = if number == 0 { "\n" } else { "" };
            let (reference, message) = (plain(&failed.reference), plain(&failed.message));
            let hint = failed.hint.as_ref().map(|hint| format!(" ({})", plain(hint))).unwrap_or_default();
            whole.push_str(&format!("{start}- **failed** {reference}: {message}{hint}\n"));
        }
        whole.push_str(&format!(
            "\nEnd-of-life dates as of {}, {} days ago.\n",
            plain(&self.cycles.date),
            self.cycles.age_days
        ));
        whole
    }
}

fn row(finding: &Finding) -> String {
    let because =
        finding.because.as_ref().map(|because| format!(" ({})", plain(because))).unwrap_or_default();
    let until = finding.until.as_ref().map(|until| format!(", until {}", plain(until))).unwrap_or_default();
    let phases = finding.phases.iter().map(|phase| format!("{} {}", phase.number, phase.phase));
    let since = finding.first_seen.as_deref().and_then(|time| time.split('T').next()).unwrap_or("–");
    let command = finding.command.as_deref().filter(|_| finding.state == State::Found);
    format!(
        "| {} | {}: {}{because}{until} | {} | {} | {} |\n",
        word(finding.state),
        plain(&finding.name),
        plain(&finding.text),
        plain(since),
        phases.collect::<Vec<_>>().join(", "),
        command.map_or_else(|| "–".to_owned(), plain),
    )
}

fn package(update: &PackageUpdate) -> String {
    let kind = if update.security { "security" } else { "" };
    let state = match update.state {
        State::Found => kind.to_owned(),
        state => {
            let because = update.because.as_deref().map(plain).unwrap_or_default();
            format!("{kind} {}: {because}", word(state)).trim().to_owned()
        }
    };
    let PackageUpdate { name, source, from, to, repository, .. } = update;
    let cells = [name, source, from, to, repository].map(|text| plain(text)).join(" | ");
    format!("| {cells} | {state} |\n")
}

fn word(state: State) -> &'static str {
    match state {
        State::Found => "**newer**",
        State::Held => "held",
        State::Ignored => "ignored",
    }
}

/// A text as it stands, in one line.
fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '<' => plain.push_str("&lt;"),
            '>' => plain.push_str("&gt;"),
            '&' => plain.push_str("&amp;"),
            '\\' | '`' | '*' | '_' | '[' | ']' | '|' | '~' | '#' => plain.extend(['\\', character]),
            // Nobody is told of it by a name, and no issue is linked.
            '@' => plain.push_str("&#64;"),
            character if character.is_control() => plain.push(' '),
            character => plain.push(character),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::plain;

    #[test]
    fn nothing_that_an_image_says_is_markdown() {
        assert_eq!(plain("a|b\n<img src=x>"), "a\\|b &lt;img src=x&gt;");
        assert_eq!(plain("[x](http://y) @team *1*"), "\\[x\\](http://y) &#64;team \\*1\\*");
        assert_eq!(plain("libc6 2.36-9+deb12u13"), "libc6 2.36-9+deb12u13");
    }
}
