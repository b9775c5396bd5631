"""What comes after the score: readings over months, alarm cases, levels and trends, in one file.

    database.py    the SQLite file: tables, transactions, errors
    store.py       all machines in one such file: readings, events, alarm cases
    series.py      readings as arrays, old ones merged
    recorder.py    one machine's way into the store; a full disk delays it and stops nothing
    alarms.py      scores -> alarms: deadband, on-delay and off-delay, N of M
    cases.py       the record of an alarm: raised, acknowledged, cleared, closed
    shelving.py    machines whose alarms are not announced for a while
    export.py      cases as text, csv and labels for Audacity
    quiet_hours.py hours in which an alarm is recorded but not announced
    levels.py      sound levels, overall and in one-third octaves (IEC 61260-1)
    trend.py       slope with interval, date of a change, time to the threshold
    trend_statistics.py shape, significance and slope of a series of days
    report.py      the trends of everything that the store knows of a machine

The room knows no detector: it takes scores and waveforms.
"""
