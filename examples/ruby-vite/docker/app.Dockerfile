ARG RUNNER

# The context is the source tree with what the compile phase wrote: lib/ and public/.
FROM ${RUNNER} AS app
WORKDIR /srv/app
COPY config.ru ./
COPY config/ config/
COPY app/ app/
COPY bin/ bin/
COPY lib/ lib/
COPY public/ public/
USER shop

FROM app AS web
ENV RACK_ENV=production PORT=8080
EXPOSE 8080
HEALTHCHECK CMD ["ruby", "-rnet/http", "-e", "Net::HTTP.get_response('127.0.0.1', '/api/platform', ENV.fetch('PORT').to_i).value"]

FROM app AS cli
ENTRYPOINT ["bin/shop"]
CMD ["help"]
