# One image for the worker, the web and the migration; the command chooses.

ARG PYTHON=3.11-slim-bookworm

FROM python:${PYTHON} AS packages
COPY requirements/base.txt /requirements.txt
RUN python -m venv /opt/redress \
 && /opt/redress/bin/pip install --no-cache-dir --no-compile --require-hashes -r /requirements.txt

FROM python:${PYTHON}
RUN useradd --uid 10001 --create-home --shell /usr/sbin/nologin redress
COPY --from=packages /opt/redress /opt/redress
ENV PATH=/opt/redress/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1
WORKDIR /srv/redress
COPY . .
RUN install -d -o redress -g redress var var/evidence
USER 10001:10001
CMD ["python", "worker.py"]
