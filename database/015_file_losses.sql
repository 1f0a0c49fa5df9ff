-- What a sync of a transactions file did not use of it.
set local client_min_messages = warning;

create table if not exists quality.file_losses (
    treatment text not null,
    reason text not null,
    lines bigint not null,
    net_amount double precision not null,
    unknown_amounts bigint not null,
    first_line bigint not null,
    primary key (treatment, reason)
);
comment on table quality.file_losses is 'Lines of the transactions file that are not used, or not as they are, by reason: their number and the money that can be read.';
