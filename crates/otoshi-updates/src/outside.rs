//! What a check asks with: the store, registries, package repositories, the table of ends of life, the time, and what `[check]`
//! wants.

use std::sync::atomic::{AtomicU64, Ordering};

use jiff::{Timestamp, civil::Date, tz::TimeZone};
use otoshi_explain::{Explain, Wording};
use otoshi_http::SafeUrl;
use otoshi_oci::{Image, Platform, Reference};
use otoshi_packages::Fetch;
use otoshi_packages::Installed;
use otoshi_pipeline::Remote;
use otoshi_project::{Check as Settings, is_safe_address};
use otoshi_registry::{Depth, Pulled, RegistryError, Repository};
use otoshi_store::Home;

use crate::{
    budget::{Begun, Budget},
    cycle::Cycles,
    ledger::Ledger,
    report::{CyclesUsed, Parts, Report},
    repositories::Repositories,
    stop::Stop,
    table::Table,
};

/// Everything that is asked, and by when.
pub(crate) struct Outside<'a> {
    pub(crate) home: &'a Home,
    pub(crate) remote: &'a Remote,
    pub(crate) settings: &'a Settings,
    /// How remedies are called.
    pub(crate) words: Wording<'a>,
    pub(crate) cycles: Cycles,
    cycles_used: CyclesUsed,
    pub(crate) now: Timestamp,
    pub(crate) today: Date,
    pub(crate) platform: Platform,
    pub(crate) repositories: Repositories,
    budget: Budget,
}

impl<'a> Outside<'a> {
    /// Puts together what a check asks with; the time is that of now. Where a table of ends of life has an address, that is asked.
    pub(crate) fn new(
        home: &'a Home,
        remote: &'a Remote,
        settings: &'a Settings,
        words: Wording<'a>,
    ) -> Self {
        let now = Timestamp::now();
        let today = TimeZone::UTC.to_datetime(now).date();
        let repositories = Repositories::new(home);
        let Table { cycles, source, failed } = Self::table(home, settings, &repositories, today);
        Self {
            home,
            remote,
            settings,
            words,
            cycles_used: CyclesUsed {
                date: cycles.date.to_string(),
                age_days: cycles.age(today),
                source,
                failed,
            },
            cycles,
            now,
            today,
            platform: Platform::host(),
            repositories,
            budget: Budget::new(settings.budget_floor),
        }
    }

    /// The table of ends of life: from the address that the environment names, else the project.
    fn table(home: &Home, settings: &Settings, repositories: &Repositories, today: Date) -> Table {
        let told = std::env::var("OTOSHI_CYCLES").ok().filter(|address| !address.is_empty());
        let Some(address) = told.or_else(|| settings.cycles.clone()) else { return Table::built_in() };
        if !is_safe_address(&address) {
            let failed = Some(format!("{:?} is neither HTTPS nor on this machine", SafeUrl::new(address)));
            return Table { failed, ..Table::built_in() };
        }
        let fetcher = repositories.fetcher().map(|fetcher| fetcher as &dyn Fetch);
        Table::of(&address, home, fetcher.map_err(|stop| stop.text()), today)
    }

    /// The report of what was found, with what was asked for it; without a project it is of images.
    pub(crate) fn report(&self, project: Option<&str>, parts: Parts) -> Result<Report, RegistryError> {
        let requests = self.remote.client()?.requests() + self.repositories.requests();
        let (project, cycles) = (project.map(str::to_owned), self.cycles_used.clone());
        Ok(parts.report(project, cycles, requests))
    }

    pub(crate) fn ledger(&self) -> Ledger<'_> {
        Ledger::new(self.home, u64::try_from(self.now.as_second()).unwrap_or(0))
    }

    /// Begins to fetch an image, where its registry's budget allows it.
    pub(crate) fn begin(&self, reference: &Reference) -> Result<Begun<'_>, Stop> {
        self.budget.begin(self.remote.client()?, &Repository::of(reference)).map_err(Stop::Budget)
    }

    /// Fetches what says all about an image, where it is not here and the registry's budget allows it; `None` where there is none.
    pub(crate) fn fetch(&self, reference: &Reference) -> Result<Option<Pulled>, Stop> {
        let is_here = |digest| Image::load(self.home.layout(), digest, &self.platform).is_ok();
        let known = reference.digest().is_some_and(is_here);
        let _begun = (!known).then(|| self.begin(reference)).transpose()?;
        Ok(self.remote.pull(reference, &self.platform, Depth::Config)?.map(|(pulled, _)| pulled))
    }

    /// Reads what is installed in an image; of its layers those are fetched that nothing is known of here.
    pub(crate) fn installed(&self, image: &Image, reference: &Reference) -> Result<Installed, Stop> {
        const ENOUGH: u64 = u64::MAX;
        let left = AtomicU64::new(ENOUGH);
        let repository = Repository::of(reference);
        let fetch = |layer: &otoshi_oci::ImageLayer| -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
            let _begun = self.budget.begin(self.remote.client()?, &repository).map_err(|few| {
                left.store(few, Ordering::Relaxed);
                "its registry has few requests left"
            })?;
            Ok(self.remote.fetch_layer(layer)?)
        };
        Installed::of_image(self.home, image, &fetch).map_err(|error| match left.load(Ordering::Relaxed) {
            ENOUGH => {
                let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}"));
                Stop::Told(format!("{error}{}", cause.unwrap_or_default()), error.remedy())
            }
            left => Stop::Budget(left),
        })
    }

    /// A second since 1970 as people and programs read it.
    pub(crate) fn time(second: u64) -> Option<String> {
        Timestamp::from_second(i64::try_from(second).ok()?).ok().map(|time| time.to_string())
    }
}
