"""ReFrame's settings for ridgeline.py: this host, Slurm, or hosts by ssh. It writes ./reframe and ./reframe.log alone.

RIDGELINE_HOSTS names the hosts of ridgeline:ssh, as in a,b,c; RIDGELINE_SSH has options for ssh, as in "-F config".
"""

import os

site_configuration = {
    "systems": [
        {
            "name": "ridgeline",
            "hostnames": [".*"],
            "prefix": "reframe",
            "partitions": [
                {
                    "name": "local",
                    "scheduler": "local",
                    "launcher": "local",
                    "environs": ["builtin"],
                    "max_jobs": 1,
                },
                {
                    "name": "slurm",
                    "scheduler": "squeue",  # "slurm" where jobs are accounted for
                    "launcher": "local",  # the job itself has the whole node; a step of srun would have one CPU
                    "environs": ["builtin"],
                    "access": [],  # such as "--partition=compute", "--account=..."
                    "max_jobs": 100,
                },
                {
                    "name": "ssh",
                    "scheduler": "ssh",
                    "launcher": "local",
                    "environs": ["builtin"],
                    "access": os.environ.get("RIDGELINE_SSH", "").split(),
                    "sched_options": {"ssh_hosts": os.environ.get("RIDGELINE_HOSTS", "localhost").split(",")},
                    "max_jobs": 100,
                },
            ],
        }
    ],
    "general": [
        {
            "report_file": "reframe/reports/{sessionid}.json",
            "topology_prefix": "reframe/topology",
            "timestamp_dirs": "%Y-%m-%d-%H%M%S",
        }
    ],
    "storage": [{"enable": True, "sqlite_db_file": "reframe/results.db"}],
    "logging": [
        {
            "handlers": [{"type": "file", "name": "reframe.log", "level": "debug2", "append": False}],
            "handlers_perflog": [
                {
                    "type": "filelog",
                    "prefix": "%(check_system)s/%(check_partition)s",
                    "format": "%(check_job_completion_time)s|%(check_job_nodelist)s|%(check_perfvalues)s",
                    "format_perfvars": "%(check_perf_value)s|%(check_perf_unit)s|",
                    "append": True,
                }
            ],
        }
    ],
}
