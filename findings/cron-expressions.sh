#!/usr/bin/env bash
# One line of cron is each day, four days or two days of a month by the library that runs it, and once a year a night has two runs or none.
#
# Versions: croniter 7.0.0, cronsim 2.8, crontab 1.0.5 and APScheduler 3.11.3 (Python), cron-parser 5.10.6, croner 11.0.1, cron 4.4.0 and
# cron-schedule 6.0.0 (Node).
#
# Guess: crontab(5) has it that a day has to match either field where the day of the month and that of the week are both restricted, and
# both fields where one of them has a star; Sunday is 0 and 7. What reads the five fields does that, and a nightly job runs once a night.
#
# Behaviour: cronsim alone does all of it. `13 * 5` is the 13th and Fridays; for crontab it is Fridays that are a 13th, and for APScheduler
# (`from_crontab`) Saturdays that are, as its week begins with Monday, 0: 1-5 is Tuesday to Saturday, 7 is refused. `*/2 * 1` is Mondays of
# odd days; it is Mondays and odd days for croniter and all four of Node. `1-31 * 1` is each day; it is Mondays for crontab, cron and cron-
# schedule, and Tuesdays for APScheduler. Where the clock goes back, a job at 2:30 runs twice by croniter and APScheduler. Where it goes
# forward, `*/30 2` does not run that night for cronsim and croner, and runs once for the others.
#
# Why it matters: images are refreshed on a schedule, and one that moves from crontab to a job runner in Python or Node is another one
# there, without an error. What runs a tenth as often is noticed when an image is old.
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp"
python3 -m venv v >/dev/null && v/bin/pip -q install --disable-pip-version-check croniter==7.0.0 cronsim==2.8 crontab==1.0.5 APScheduler==3.11.3 tzdata==2026.6 >/dev/null 2>&1
npm --silent --no-audit --no-fund install cron-parser@5.10.6 croner@11.0.1 cron@4.4.0 cron-schedule@6.0.0 >/dev/null
cat >of.py <<'P'
import datetime, itertools, sys, zoneinfo
from apscheduler.triggers.cron import CronTrigger
from croniter import croniter
from cronsim import CronSim
from crontab import CronTab
line, zone, start, end = sys.argv[1], zoneinfo.ZoneInfo(sys.argv[2]), *(datetime.datetime.fromisoformat(day + "T00:00:00+00:00") for day in sys.argv[3:5])
form = sys.argv[5]
def of_croniter():
    runs = croniter(line, start.astimezone(zone))
    while True:
        yield runs.get_next(datetime.datetime)
def of_cronsim():
    yield from CronSim(line, start.astimezone(zone))
def of_crontab():
    now, tab = start, CronTab(line)
    while True:
        now += datetime.timedelta(seconds=tab.next(now, default_utc=True))
        yield now
def of_apscheduler():
    trigger, last = CronTrigger.from_crontab(line, timezone=zone), None
    while True:
        last = trigger.get_next_fire_time(last, last or start.astimezone(zone))
        yield last
for name, runs in ("croniter", of_croniter), ("cronsim", of_cronsim), ("crontab", of_crontab), ("APScheduler", of_apscheduler):
    if name == "crontab" and sys.argv[2] != "UTC":
        continue
    try:
        found = [run.astimezone(datetime.timezone.utc).strftime(form) for run in itertools.takewhile(lambda run: run < end, runs())]
    except ValueError as error:
        found = ["refused"]
    print(f"  {name}:", " ".join(found))
P
cat >of.mjs <<'J'
import { CronExpressionParser } from "cron-parser";
import { Cron } from "croner";
import { CronTime } from "cron";
import { DateTime } from "luxon";
import { parseCronExpression } from "cron-schedule";
const [line, tz, from, until, form] = process.argv.slice(2);
const start = new Date(from + "T00:00:00Z"), end = new Date(until + "T00:00:00Z");
const nexts = {
  "cron-parser": (after) => CronExpressionParser.parse(line, { currentDate: after, tz }).next().toDate(),
  croner: (after) => new Cron(line, { timezone: tz }).nextRun(after),
  cron: (after) => new CronTime(line, tz).getNextDateFrom(DateTime.fromJSDate(after).setZone(tz), tz).toJSDate(),
  "cron-schedule": (after) => parseCronExpression(line).getNextDate(after),
};
for (const [name, next] of Object.entries(nexts)) {
  const runs = [];
  for (let at = next(start); at < end; at = next(at)) runs.push(form === "%d" ? at.toISOString().slice(8, 10) : at.toISOString().slice(11, 16));
  console.log(`  ${name}: ${runs.join(" ")}`);
}
J
{
  for days in '13 * 5' '*/2 * 1' '1-31 * 1' '* * 1-5' '* * 7'; do
    echo "0 3 $days, days of January 2026:"
    v/bin/python of.py "0 3 $days" UTC 2026-01-01 2026-02-01 %d
    TZ=UTC node of.mjs "0 3 $days" UTC 2026-01-01 2026-02-01 %d
  done
  for line in '30 2 * * */2026-10-25' '*/30 2 * * */2026-03-29'; do
    echo "${line%/*}, Berlin on ${line##*/}, in UTC:"
    after=$(date -d "${line##*/} + 1 day" +%F)
    v/bin/python of.py "${line%/*}" Europe/Berlin "${line##*/}" "$after" %H:%M
    TZ=Europe/Berlin node of.mjs "${line%/*}" Europe/Berlin "${line##*/}" "$after" %H:%M
  done
} | sed 's/ *$//' | tee seen.txt
diff - seen.txt <<'T'
0 3 13 * 5, days of January 2026:
  croniter: 02 09 13 16 23 30
  cronsim: 02 09 13 16 23 30
  crontab:
  APScheduler:
  cron-parser: 02 09 13 16 23 30
  croner: 02 09 13 16 23 30
  cron: 02 09 13 16 23 30
  cron-schedule: 02 09 13 16 23 30
0 3 */2 * 1, days of January 2026:
  croniter: 01 03 05 07 09 11 12 13 15 17 19 21 23 25 26 27 29 31
  cronsim: 05 19
  crontab: 05 19
  APScheduler: 13 27
  cron-parser: 01 03 05 07 09 11 12 13 15 17 19 21 23 25 26 27 29 31
  croner: 01 03 05 07 09 11 12 13 15 17 19 21 23 25 26 27 29 31
  cron: 01 03 05 07 09 11 12 13 15 17 19 21 23 25 26 27 29 31
  cron-schedule: 01 03 05 07 09 11 12 13 15 17 19 21 23 25 26 27 29 31
0 3 1-31 * 1, days of January 2026:
  croniter: 01 02 03 04 05 06 07 08 09 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31
  cronsim: 01 02 03 04 05 06 07 08 09 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31
  crontab: 05 12 19 26
  APScheduler: 06 13 20 27
  cron-parser: 01 02 03 04 05 06 07 08 09 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31
  croner: 01 02 03 04 05 06 07 08 09 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31
  cron: 05 12 19 26
  cron-schedule: 05 12 19 26
0 3 * * 1-5, days of January 2026:
  croniter: 01 02 05 06 07 08 09 12 13 14 15 16 19 20 21 22 23 26 27 28 29 30
  cronsim: 01 02 05 06 07 08 09 12 13 14 15 16 19 20 21 22 23 26 27 28 29 30
  crontab: 01 02 05 06 07 08 09 12 13 14 15 16 19 20 21 22 23 26 27 28 29 30
  APScheduler: 01 02 03 06 07 08 09 10 13 14 15 16 17 20 21 22 23 24 27 28 29 30 31
  cron-parser: 01 02 05 06 07 08 09 12 13 14 15 16 19 20 21 22 23 26 27 28 29 30
  croner: 01 02 05 06 07 08 09 12 13 14 15 16 19 20 21 22 23 26 27 28 29 30
  cron: 01 02 05 06 07 08 09 12 13 14 15 16 19 20 21 22 23 26 27 28 29 30
  cron-schedule: 01 02 05 06 07 08 09 12 13 14 15 16 19 20 21 22 23 26 27 28 29 30
0 3 * * 7, days of January 2026:
  croniter: 04 11 18 25
  cronsim: 04 11 18 25
  crontab: 04 11 18 25
  APScheduler: refused
  cron-parser: 04 11 18 25
  croner: 04 11 18 25
  cron: 04 11 18 25
  cron-schedule: 04 11 18 25
30 2 * * *, Berlin on 2026-10-25, in UTC:
  croniter: 00:30 01:30
  cronsim: 00:30
  APScheduler: 00:30 01:30
  cron-parser: 00:30
  croner: 00:30
  cron: 00:30
  cron-schedule: 00:30
*/30 2 * * *, Berlin on 2026-03-29, in UTC:
  croniter: 01:00
  cronsim:
  APScheduler: 01:00
  cron-parser: 01:00
  croner:
  cron: 01:00
  cron-schedule: 01:00
T
