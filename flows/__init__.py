"""When it happens: one thin Prefect flow per scheduled job, the server they run on, and the `sallyport` command."""
