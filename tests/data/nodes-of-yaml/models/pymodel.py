def model(dbt, session):  # type: ignore[no-untyped-def]
    dbt.config(materialized="table", tags=["py"])
    return dbt.ref("orders")
