# One image for every role; docker-compose.yml says which command runs.
FROM python:3.11-slim AS packages
COPY requirements.txt constraints.txt /tmp/
RUN python -m venv /opt/venv \
    && /opt/venv/bin/pip install --no-cache-dir -c /tmp/constraints.txt -r /tmp/requirements.txt

FROM python:3.11-slim
RUN useradd --system --uid 10001 --no-create-home aether
COPY --from=packages /opt/venv /opt/venv
WORKDIR /srv/aether
COPY celeryconfig.py ./
COPY core core
COPY agents agents
COPY storage storage
COPY monitoring monitoring
COPY workers workers
COPY web web
COPY ops ops
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1
USER aether
EXPOSE 8001
CMD ["gunicorn", "-c", "python:web.gunicorn_conf", "web.app:create_app()"]
