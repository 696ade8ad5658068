# spark_server.py - one Spark session for all interop tests: it takes a line of
# JSON on standard input, and answers with one on standard output.
#
#   {"sql": "…"}                  runs it; {"rows": [[…], …]}
#   {"counts": TABLE, "where": […]}    {"counts": [n, …]}
#   {"python": "…"}               runs it, `spark` at hand; {}
#
# What goes wrong is answered as {"error": "…"}.

import datetime
import decimal
import glob
import json
import os
import sys

here = os.path.dirname(os.path.abspath(__file__))
jars = sys.argv[1]
answers = os.fdopen(os.dup(1), "w", buffering=1)
os.dup2(2, 1)   # what Spark prints is not an answer

from pyspark.sql import SparkSession  # noqa: E402

spark = (SparkSession.builder.master("local[2]").appName("mb-interop")
         .config("spark.jars", ",".join(sorted(glob.glob(jars + "/*.jar"))))
         .config("spark.sql.extensions",
                 "io.delta.sql.DeltaSparkSessionExtension")
         .config("spark.sql.catalog.spark_catalog",
                 "org.apache.spark.sql.delta.catalog.DeltaCatalog")
         .config("spark.sql.session.timeZone", "UTC")
         .config("spark.sql.shuffle.partitions", "2")
         .config("spark.default.parallelism", "2")
         .config("spark.databricks.delta.snapshotPartitions", "1")
         .config("spark.ui.enabled", "false")
         .config("spark.ui.showConsoleProgress", "false")
         .config("spark.driver.memory", "2g")
         # A machine may be slow, and not know its own name.
         .config("spark.driver.host", "127.0.0.1")
         .config("spark.driver.bindAddress", "127.0.0.1")
         .config("spark.network.timeout", "900s")
         .config("spark.executor.heartbeatInterval", "60s")
         .config("spark.python.authenticate.socketTimeout", "900s")
         .config("spark.sql.warehouse.dir", sys.argv[2])
         .config("spark.log.level", "ERROR")
         .getOrCreate())
spark.sparkContext.setLogLevel("ERROR")


def plain(v):
    if isinstance(v, (bytes, bytearray)):
        return {"bytes": bytes(v).hex()}
    if isinstance(v, decimal.Decimal):
        return {"decimal": str(v)}
    if isinstance(v, datetime.datetime):
        return {"time": v.strftime("%Y-%m-%d %H:%M:%S.%f")}
    if isinstance(v, datetime.date):
        return {"date": v.isoformat()}
    if isinstance(v, float):
        return {"float": repr(v)}
    return v


def answer(q):
    if "sql" in q:
        rows = spark.sql(q["sql"]).collect()
        return {"rows": [[plain(v) for v in r] for r in rows]}
    if "counts" in q:
        df = spark.read.format("delta").load(q["counts"])
        return {"counts": [df.where(w).count() for w in q["where"]]}
    exec(q["python"], {"spark": spark})
    return {}


for line in sys.stdin:
    try:
        out = answer(json.loads(line))
    except Exception as e:
        out = {"error": str(e).split("\n")[0][:500]}
    answers.write(json.dumps(out) + "\n")
