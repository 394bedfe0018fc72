# SinkScope in a container: CPU by default, `--build-arg TORCH=cuda` for PyTorch's default build with CUDA.
#   docker build -t sinkscope .
#   docker run -p 8501:8501 -v sinkscope:/data sinkscope
FROM python:3.12-slim

ARG TORCH=cpu
RUN if [ "$TORCH" = cpu ]; then pip install --no-cache-dir torch --index-url https://download.pytorch.org/whl/cpu; fi

COPY pyproject.toml requirements.txt README.md LICENSE app.py /src/
COPY .streamlit /src/.streamlit
COPY sinkscope /src/sinkscope
COPY cache /src/cache
COPY analysis /src/analysis
COPY pages /src/pages
RUN pip install --no-cache-dir /src && rm -rf /src

# Spaces of the Hugging Face hub run as uid 1000 too.
RUN useradd --create-home --uid 1000 sinkscope && mkdir /data && chown sinkscope /data
USER sinkscope
WORKDIR /home/sinkscope
ENV SINKSCOPE_HOME=/data OMP_WAIT_POLICY=PASSIVE
VOLUME /data
EXPOSE 8501
HEALTHCHECK --start-period=60s CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8501/_stcore/health', timeout=5)"]
# Reached from outside, it starts only with a password or a log-in in /home/sinkscope/.streamlit/secrets.toml, or as a
# demonstration: docker run -e SINKSCOPE_DEMO=1 ….
ENTRYPOINT ["sinkscope", "dashboard", "--port", "8501", "--server.address", "0.0.0.0"]
