# One image for every role; docker-compose.yml says which command runs.
FROM python:3.11-slim AS packages
COPY requirements.txt /tmp/
RUN python -m venv /opt/venv \
    && /opt/venv/bin/pip install --no-cache-dir --require-hashes --no-deps --only-binary :all: \
        -r /tmp/requirements.txt

FROM python:3.11-slim
RUN useradd --system --uid 10001 --no-create-home aether
COPY --from=packages /opt/venv /opt/venv
WORKDIR /srv/aether
COPY . .
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1
USER aether
EXPOSE 8001
CMD ["gunicorn", "-c", "python:web.gunicorn_conf", "web.app:create_app()"]
