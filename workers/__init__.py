"""Who does the work; the only package that knows Celery."""
