# The product's image for machines with a Docker engine. Its files come from the list that the images built without
# Docker come from (test/cluster/images/contents.ts); test/unit/cluster/dockerfile.test.ts compares the rest.
FROM node:24-bookworm-slim AS build
RUN apt-get update && apt-get install -y --no-install-recommends binutils ca-certificates
WORKDIR /src
COPY package.json package-lock.json ./
# The base image's Node only runs npm; our image holds the one that the lockfile pins.
RUN npm ci --no-audit --no-fund
COPY . .
RUN ./node_modules/.bin/node test/cluster/images/build.ts glmquota --rootfs /rootfs

FROM scratch
COPY --from=build /rootfs/ /
ENV PATH=/bin
WORKDIR /
USER 65532:65532
ENTRYPOINT ["/bin/node", "--disable-sigusr1", "--max-semi-space-size=8", "/app/glmquota.mjs"]
