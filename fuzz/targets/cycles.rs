//! A table of ends of life, as an address gives it.
#![no_main]

use jiff::civil::Date;
use libfuzzer_sys::fuzz_target;
use otoshi_updates::{Cycles, end_of};

fuzz_target!(|text: &str| {
    let Ok(table) = Cycles::parse(text) else { return };
    let today = Date::constant(2026, 1, 1);
    let _ = table.age(today);
    let products: Vec<String> = table.products.keys().cloned().collect();
    for product in &products {
        let _ = (table.product_of_repository(product), table.by_code_name(product));
        for release in &table.products[product].releases {
            let _ = (end_of(release, today, 90), table.successor(product, release, today));
            assert!(table.release(product, &release.numbers()).is_some() || release.numbers().is_empty());
        }
    }
});
