ARG RUNNER
FROM ${RUNNER} AS app
COPY out/clock /usr/bin/clock
USER clock
ENTRYPOINT ["/usr/bin/clock"]

FROM app AS web
ENV PORT=8080
EXPOSE 8080
HEALTHCHECK CMD ["/usr/bin/clock", "check"]

FROM app AS cli
CMD ["versions"]
