"""The platform's APIs, without Airflow. Private: use `PolyteiaHook`.

`docs/architecture.md` shows how one call travels through these modules.
"""
