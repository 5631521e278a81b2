FROM scratch
COPY . /d
